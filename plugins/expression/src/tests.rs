//! What expressions give; conditions are tested by the plugin `filter`, in whose words they are described.

use weir_plugin::testing::{Harness, Judged, event};
use weir_plugin::{Action, Event, Failure, Plugin, Step};

use crate::Expression;
use crate::quick::Quick;

/// Sets the field `is` to the value of an expression.
#[derive(Debug)]
struct Shows {
    fields: Vec<String>,
    expression: Expression,
}

impl Plugin for Shows {
    type Config = String;

    fn configure(text: String, _: &Step) -> Result<Self, String> {
        let mut fields = Vec::new();
        let expression = Expression::computed("value", &text, &mut fields)?;
        Ok(Self { fields, expression })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        match self.expression.value(event)? {
            Some(value) => Ok(event.set("is", value).into()),
            None => Ok(Action::Drop),
        }
    }

    fn fields(&self) -> Vec<String> {
        self.fields.clone()
    }
}

fn gives(expression: &str, data: &str) -> String {
    let config = serde_json::Value::from(expression).to_string();
    let judged = Harness::<Shows>::new(&config).unwrap().judge(event().data(data));
    match &judged {
        Judged::Drop => "nothing".to_owned(),
        Judged::Fail(_, message) => message.clone(),
        _ => {
            let text = judged.texts().concat();
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            value["is"].to_string()
        }
    }
}

#[test]
fn values_are_those_of_json() {
    for (expression, expected) in [
        ("data.s", r#""ä\"""#),
        ("data.n", "7"),
        ("data.f", "1.5"),
        ("data.big", "18446744073709551615"),
        ("data.none", "null"),
        ("data.list", "[1,null,{\"a\":true}]"),
        ("{'b': 1, 'a': [data.n]}", r#"{"a":[7],"b":1}"#),
        ("{1: 2}", r#"{"1":2}"#),
        ("data.n > 3", "true"),
        ("data.?none", "nothing"),
        ("data.?n", "7"),
        ("b'x'", "`value` gives a value of type bytes, which JSON does not have"),
    ] {
        let data =
            r#"{"s":"ä\"","n":7,"f":1.5,"big":18446744073709551615,"list":[1,null,{"a":true}]}"#;
        assert_eq!(gives(expression, data), expected, "{expression}");
    }
}

#[test]
fn numbers_mix_as_in_json() {
    for (expression, expected) in [
        ("data.i + data.f", "7.5"),
        ("data.f - data.i", "-6.5"),
        ("data.i * 0.5", "3.5"),
        ("data.f / data.i", "0.07142857142857142"),
        ("data.i / 2", "3"),
        ("double(data.i) / 2", "3.5"),
        ("data.i % 4", "3"),
        ("data.i + data.i", "14"),
        ("data.big + data.i", "1.8446744073709552e+19"),
        ("'a' + 'b'", r#""ab""#),
        ("[1] + [data.f]", "[1,0.5]"),
        ("[1, 2].map(n, n + data.f)", "[1.5,2.5]"),
        ("[1, 2, 3].filter(n, n % 2 == 1)", "[1,3]"),
        ("[data.i, data.f].exists_one(n, n > 1)", "true"),
        ("data.i + 'a'", "`value`: cannot add int and string"),
        ("data.i / 0", "`value`: Division by zero of Int(7)"),
        ("9223372036854775807 + 1", ""),
    ] {
        let data = r#"{"i":7,"f":0.5,"big":18446744073709551615}"#;
        let given = gives(expression, data);
        if expected.is_empty() {
            assert!(given.contains("verflow"), "{expression}: {given}");
        } else {
            assert_eq!(given, expected, "{expression}");
        }
    }
}

/// Tells what both ways to decide a condition say: `yes`, `no`, `error`, and `?` for no answer.
#[derive(Debug)]
struct Compares {
    fields: Vec<String>,
    condition: Expression,
}

impl Plugin for Compares {
    type Config = String;

    fn configure(text: String, _: &Step) -> Result<Self, String> {
        let mut fields = Vec::new();
        let condition = Expression::condition("when", &text, &mut fields)?;
        Ok(Self { fields, condition })
    }

    fn transform(&mut self, event: &Event<'_>) -> Result<Action, Failure> {
        let word = |is_true: bool| if is_true { "yes" } else { "no" };
        let quick: Option<&Quick> = self.condition.quick.as_ref();
        let quick = quick.and_then(|quick| quick.decide(&self.condition.reads, event));
        let full = self.condition.is_true_in_full(event).map_or("error", word);
        Ok(Action::Replace(format!("{} {full}", quick.map_or("?", word)).into_bytes()))
    }

    fn fields(&self) -> Vec<String> {
        self.fields.clone()
    }
}

fn both(condition: &str, data: &str) -> (String, String) {
    let config = serde_json::Value::from(condition).to_string();
    let judged = Harness::<Compares>::new(&config).unwrap().judge(event().data(data));
    let text = judged.texts().concat();
    let (quick, full) = text.split_once(' ').unwrap();
    (quick.to_owned(), full.to_owned())
}

#[test]
fn what_is_decided_quickly_is_what_the_interpreter_says() {
    const VALUES: &[&str] = &[
        "null",
        "true",
        "false",
        "0",
        "-0",
        "7",
        "7.0",
        "7.5",
        "-3",
        "1e2",
        "9007199254740993",
        "9007199254740992.0",
        "18446744073709551615",
        "1e400",
        r#""""#,
        r#""7""#,
        r#""abc""#,
        r#""\u00e4""#,
        "[]",
        "[7]",
        "{}",
        r#"{"b":7}"#,
    ];
    let sides = [
        "data.a",
        "data.b",
        "7",
        "7.5",
        "-3",
        "9007199254740993",
        "'abc'",
        "''",
        "true",
        "null",
        "type",
        "subject",
        "ext.none",
    ];
    let mut decided = 0;
    for operator in ["==", "!=", "<", "<=", ">", ">="] {
        for right in sides {
            let condition = format!("data.a {operator} {right}");
            for value in VALUES {
                let data = format!(r#"{{"a":{value},"b":7.5}}"#);
                let (quick, full) = both(&condition, &data);
                assert!(quick == "?" || quick == full, "{condition} of {data}: {quick}, {full}");
                decided += usize::from(quick != "?");
            }
        }
    }
    assert!(decided > 700, "{decided} decided");
}

#[test]
fn the_usual_conditions_are_decided_quickly() {
    let data = r#"{"user":{"plan":"pro"},"total":24.5,"bot":false,"n":3}"#;
    for (condition, expected) in [
        ("data.user.plan != 'free' && data.total > 10", "yes"),
        ("data.bot != true", "yes"),
        ("!data.bot || data.none", "yes"),
        ("data.none", "no"),
        ("data.none && data.n > 'a'", "no"),
        ("type.startsWith('ev') && data.user.plan.startsWith('p')", "yes"),
        ("data.none.startsWith('p') || id == 'x'", "no"),
        ("subject == null && data.n >= 3 && data.n < 3.5", "yes"),
        ("true", "yes"),
    ] {
        assert_eq!(
            both(condition, data),
            (expected.to_owned(), expected.to_owned()),
            "{condition}"
        );
    }
    assert_eq!(both("data.n > 'a'", data), ("?".to_owned(), "error".to_owned()));
    assert_eq!(both("data.n > 'a' && false", data), ("?".to_owned(), "no".to_owned()));
}
