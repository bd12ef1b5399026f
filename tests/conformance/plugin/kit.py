"""The plugin of the conformance kit: each event's type says what is to become of it."""

from weir import REMOVE, Event, Failure, Row, Step, Verdict
from weir import drop, emit, fail, keep, patch, plugin, remove, replace, set

FIELDS = ["user.plan", "n", "items[0].sku", 'odd["a.b"]', "$"]
ABSENT = object()


def kit(config: dict, step: Step):
    word = config.get("word")
    if not word:
        raise ValueError("a word is needed")
    seen = 0

    def judge(event: Event) -> Verdict:
        nonlocal seen
        seen += 1
        match event.type:
            case "drop":
                return drop()
            case "replace":
                return replace('{"was":' + event.text() + "}")
            case "nothing":
                return emit()
            case "same":
                return emit(Row())
            case "bare":
                return emit(Row(subject=None))
            case "split":
                return emit(
                    Row(type="left", subject="ö", route="odd"),
                    Row(data="right €", content_type="text/plain"),
                    Row(extensions={"b": "3", "a": None}),
                )
            case "invalid":
                return fail("as told")
            case "transient":
                raise Failure("as told", "transient")
            case "internal":
                raise RuntimeError("as told")
            case "text":
                return replace(f"{word} {event.text()}")
            case "count":
                return replace(seen)
            case "fields":
                return replace({"fields": [event.field(path) for path in FIELDS], "twice": event.is_ambiguous("n")})
            case "absent":
                return replace([event.field(path, ABSENT) is ABSENT for path in FIELDS])
            case "set":
                return set({"user.plan": 'ö "x"\n', "seen": True, "n": 2.5, "list": [1, {"a": None}], "none": None})
            case "remove":
                return remove("user.email", "items[0]")
            case "patch":
                return patch(("a.b", 1), ("a.c", REMOVE), ("n", False), ('a["odd.key"]', ""))
            case "untouched":
                return patch()
            case "show":
                return replace(show(event))
        return keep()

    def show(event: Event) -> dict:
        return {
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "subject": event.subject,
            "contentType": event.content_type,
            "time": event.time,
            "bytes": len(event.data),
            "extensions": event.extensions,
            "word": word,
        }

    return judge


Lifecycle, Transform = plugin(kit, fields=FIELDS, data=True)
