"""Adds the tax to orders and drops pings."""

from weir import Event, Step, Verdict, drop, fail, keep, plugin, set


def tax(config: dict, step: Step):
    rate = config.get("rate")
    if not isinstance(rate, (int, float)) or not 0 <= rate < 1:
        raise ValueError("`rate` is a fraction, such as 0.19")

    def judge(event: Event) -> Verdict:
        if event.type == "ping":
            return drop()
        if event.type != "order":
            return keep()
        net = event.field("net")
        if not isinstance(net, (int, float)):
            return fail("an order has a `net`")
        return set({"tax": net * rate})

    return judge


# `fields` names what it reads of JSON data: the daemon finds it, which is much faster than event.json().
Lifecycle, Transform = plugin(tax, fields=["net"])
