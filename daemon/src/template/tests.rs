//! What `template` promises, tried out.

use super::Template;
use crate::event::{Batch, Draft};

const DATA: &str = r##"{"user":{"name":"a.b*#%/\n","plan":null},"n":1.50,"big":12345678901234567890123,
    "ok":true,"list":["x",{"y":"z"}],"empty":"","dup":"first","dup":"last"}"##;

fn draft(data: &str) -> Batch {
    let mut batch = Batch::default();
    batch.push(&Draft {
        id: "01H",
        source: "/in/clicks",
        event_type: "cart.add",
        subject: Some("item.7"),
        content_type: Some("application/json"),
        time: 1_764_000_000_000_000,
        data: data.as_bytes(),
        extensions: &[("tenant", "t.1")],
        ..Draft::default()
    });
    batch
}

fn render(template: &str) -> Result<String, String> {
    let mut out = String::from("> ");
    let template = Template::compile(template).unwrap();
    match template.render(&draft(DATA).event(0), &mut out) {
        Ok(()) => Ok(out.split_off(2)),
        Err(error) => {
            assert_eq!(out, "> ", "a failed rendering leaves nothing behind");
            Err(error.to_string())
        }
    }
}

#[test]
fn attributes_are_rendered_as_they_are() {
    assert_eq!(
        render("{{ type }}|{{subject}}|{{id}}|{{source}}"),
        Ok("cart.add|item.7|01H|/in/clicks".into())
    );
    assert_eq!(
        render("{{time}} {{datacontenttype}}"),
        Ok("2025-11-24T16:00:00.000Z application/json".into())
    );
}

#[test]
fn values_of_publishers_cannot_add_words() {
    assert_eq!(render("u.{{data.user.name}}"), Ok("u.a%2Eb%2A%23%25%2F%0A".into()));
    assert_eq!(render("u.{{data.user.name | words}}"), Ok("u.a.b%2A%23%25%2F%0A".into()));
    assert_eq!(render("{{ext.tenant}} {{ext.tenant|words}}"), Ok("t%2E1 t.1".into()));
}

#[test]
fn scalars_keep_the_text_that_was_published() {
    assert_eq!(
        render("{{data.n | words}} {{data.big}} {{data.ok}}"),
        Ok("1.50 12345678901234567890123 true".into())
    );
    assert_eq!(render("{{data.list.0}}{{data.list.1.y}}[{{data.empty}}]"), Ok("xz[]".into()));
    assert_eq!(render("{{data.dup}}"), Ok("last".into()));
}

#[test]
fn what_is_missing_is_named_or_has_a_default() {
    for path in ["data.nope", "data.user", "data.list", "data.user.plan", "data.n.x", "data.list.9"]
    {
        assert_eq!(render(&format!("a{{{{{path}}}}}")), Err(format!("the event has no `{path}`")));
        assert_eq!(render(&format!("a{{{{{path} | \"b.c\"}}}}")), Ok("ab.c".into()));
    }
    assert_eq!(render(r#"{{data.nope | words | "x\"}}"}}"#), Ok("x\"}}".into()));
    assert_eq!(render("{{ext.nope}}"), Err("the event has no `ext.nope`".into()));
}

#[test]
fn data_that_is_no_json_has_no_fields() {
    let template = Template::compile(r#"{{data.a | "-"}}"#).unwrap();
    for data in ["", "plain", "{\"a\":1", "{\"a\":1} x", "[1,", "\u{0}", "7"] {
        let mut out = String::new();
        template.render(&draft(data).event(0), &mut out).unwrap();
        assert_eq!(out, "-", "{data:?}");
    }
    // Half of a pair is no text, and is shown as such.
    let mut out = String::new();
    template.render(&draft(r#"{"a":"\ud800"}"#).event(0), &mut out).unwrap();
    assert_eq!(out, "\u{FFFD}");
}

#[test]
fn the_number_of_words_never_depends_on_the_publisher() {
    let template = Template::compile("a.{{data.v}}.{{type}}.{{ext.v | \"none\"}}").unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let alphabet =
        ['.', '*', '#', '%', '/', '\n', '\0', '\u{85}', 'x', 'é', '"', '\\', ' ', '2', 'E'];
    for _ in 0..5_000 {
        let value: String =
            (0..random.usize(..12)).map(|_| *random.choice(&alphabet).unwrap()).collect();
        let mut batch = Batch::default();
        batch.push(&Draft {
            event_type: "cart.add",
            data: serde_json::json!({ "v": value }).to_string().as_bytes(),
            extensions: &[("v", &value)],
            ..Draft::default()
        });
        let mut out = String::new();
        template.render(&batch.event(0), &mut out).unwrap();
        assert_eq!(out.split('.').count(), 5, "{value:?} rendered {out:?}");
        assert!(!out.contains(['*', '#', '/']) && !out.contains(char::is_control), "{out:?}");
    }
}

#[test]
fn attributes_from_data_are_rendered_before_there_is_an_event() {
    let template = Template::compile("{{data.user.name}}").unwrap();
    assert!(template.uses_only_data());
    let mut out = String::new();
    template.render_data(DATA.as_bytes(), &mut out).unwrap();
    assert_eq!(out, "a.b*#%/\n");
    let other = Template::compile("{{type}}").unwrap();
    assert!(!other.uses_only_data());
    assert!(other.render_data(DATA.as_bytes(), &mut out).is_err());
}

#[test]
fn headers_get_values_as_they_are() {
    let mut out = String::new();
    let template = Template::compile("{{data.user.name}}").unwrap();
    template.render_plain(&draft(DATA).event(0), &mut out).unwrap();
    assert_eq!(out, "a.b*#%/\n");
}

#[test]
fn constants_are_known_as_such() {
    assert_eq!(Template::compile("a.b").unwrap().as_constant(), Some("a.b"));
    assert_eq!(Template::compile("").unwrap().as_constant(), Some(""));
    assert_eq!(Template::compile("{{type}}").unwrap().as_constant(), None);
    assert_eq!(Template::literal("{{type}}").as_constant(), Some("{{type}}"));
}

#[test]
fn what_is_wrong_with_a_template_is_said_with_its_place() {
    for (text, offset, message) in [
        ("a{{type", 1, "`{{` is never closed with `}}`"),
        ("a}}", 1, "`}}` without a `{{` before it"),
        ("{{}}", 2, "expected a variable, such as `type` or `data.user`"),
        ("{{ data }}", 3, "`data` needs a field: `data.user`"),
        ("{{data.}}", 7, "expected the name of a field after `.`"),
        ("{{ext.a.b}}", 2, "`ext` needs one attribute name: `ext.tenant`"),
        ("{{type | words}}", 9, "the dots of `type` count anyway; drop `words`"),
        (
            "{{data.a | upper}}",
            11,
            "unknown modifier `upper`, expected `words` or a default in quotes",
        ),
        ("{{data.a | }}", 11, "expected a default in quotes, or `words`"),
        ("{{data.a | \"x}}", 11, "the quote is never closed"),
        ("{{data.a \"x\"}}", 9, "expected `|` or `}}`"),
        ("{{data.a | \"x\" | \"y\"}}", 17, "there is a default already"),
    ] {
        let error = Template::compile(text).unwrap_err();
        assert_eq!((error.offset, error.message.as_str()), (offset, message), "{text}");
    }
    let unknown = Template::compile("{{tpye}}").unwrap_err();
    assert!(unknown.message.starts_with("unknown variable `tpye`, expected one of"));
}
