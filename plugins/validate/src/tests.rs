//! What fits a schema, and what is said of what does not.

use serde_json::{Value, json};
use weir_plugin::testing::{Harness, Judged, event};
use weir_plugin::{FailureKind, Plugin};

use crate::Validate;
use crate::compile::Schema;

fn misfits(schema: &Value, data: &Value) -> Vec<String> {
    Schema::compile(schema).unwrap().check(data).err().unwrap_or_default()
}

fn fits(schema: &Value, data: &Value) -> bool {
    misfits(schema, data).is_empty()
}

fn refused(schema: &Value) -> String {
    Schema::compile(schema).unwrap_err()
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    let schema = json!({
        "type": "object",
        "required": ["id", "items"],
        "properties": {
            "id": { "type": "string", "minLength": 1, "pattern": "^[a-z]" },
            "total": { "type": "number", "minimum": 0 },
            "items": { "type": "array", "items": { "$ref": "#/$defs/item" } },
        },
        "additionalProperties": false,
        "$defs": { "item": { "required": ["sku"], "properties": { "n": { "type": "integer" } } } },
    });
    let good = json!({ "id": "a1", "total": 0, "items": [{ "sku": 1, "n": 2.0 }] });
    assert!(fits(&schema, &good));
    for (data, expected) in [
        (json!([]), "the data is an array, not object"),
        (json!({ "id": "a" }), "`/items` is missing"),
        (json!({ "id": "", "items": [] }), "`/id` does not match ^[a-z]; `/id` is shorter"),
        (json!({ "id": 7, "items": [] }), "`/id` is a number, not string"),
        (json!({ "id": "a", "items": [], "total": -1 }), "`/total` is less than 0"),
        (json!({ "id": "a", "items": [], "a/b": 1 }), "`/a~1b` is not allowed"),
        (json!({ "id": "a", "items": [{ "sku": 1 }, { "n": 0.5 }] }), "`/items/1/sku` is missing"),
    ] {
        let told = misfits(&schema, &data).join("; ");
        let parts: Vec<&str> = expected.split("; ").collect();
        assert!(parts.iter().all(|part| told.contains(part)), "{data}: {told}");
    }
    let many = json!({ "id": "a", "items": vec![json!({}); 20] });
    assert_eq!(misfits(&schema, &many).len(), 5);
}

#[test]
fn schemas_combine() {
    let any = json!({ "anyOf": [{ "type": "string" }, { "minimum": 5 }] });
    assert!(fits(&any, &json!("a")) && fits(&any, &json!(5)) && !fits(&any, &json!(4)));
    let one = json!({ "oneOf": [{ "multipleOf": 2 }, { "multipleOf": 3 }] });
    assert!(fits(&one, &json!(4)) && !fits(&one, &json!(6)) && !fits(&one, &json!(5)));
    assert_eq!(misfits(&one, &json!(6)), ["the data fits 2 of the schemas of `oneOf`, not one"]);
    let not = json!({ "not": { "const": { "a": 1 } } });
    assert!(fits(&not, &json!({ "a": 2 })) && !fits(&not, &json!({ "a": 1.0 })));
    let conditional = json!({
        "if": { "properties": { "kind": { "const": "card" } }, "required": ["kind"] },
        "then": { "required": ["number"] },
        "else": { "dependentRequired": { "iban": ["bic"] } },
    });
    assert!(fits(&conditional, &json!({ "kind": "card", "number": 1 })));
    assert!(!fits(&conditional, &json!({ "kind": "card" })));
    assert!(!fits(&conditional, &json!({ "iban": 1 })) && fits(&conditional, &json!({})));
}

#[test]
fn lists_and_objects_are_looked_into() {
    let list = json!({ "prefixItems": [{ "type": "string" }], "items": { "type": "number" },
                       "uniqueItems": true, "contains": { "type": "number", "minimum": 3 }, "maxContains": 1 });
    assert!(fits(&list, &json!(["a", 3])));
    assert!(!fits(&list, &json!(["a", "b"])) && !fits(&list, &json!(["a", 3, 3.0])));
    assert!(!fits(&list, &json!(["a", 3, 4])) && !fits(&list, &json!(["a", 1])));
    let draft_7 = json!({ "items": [{ "type": "string" }], "additionalItems": false });
    assert!(fits(&draft_7, &json!(["a"])) && !fits(&draft_7, &json!(["a", 1])));
    let object = json!({ "patternProperties": { "^x": { "type": "number" } },
                         "additionalProperties": { "type": "string" },
                         "propertyNames": { "maxLength": 3 }, "maxProperties": 2 });
    assert!(fits(&object, &json!({ "x1": 1, "y": "a" })));
    for data in [json!({ "x1": "a" }), json!({ "y": 1 }), json!({ "long": "a" })] {
        assert!(!fits(&object, &data), "{data}");
    }
}

#[test]
fn a_schema_may_lead_into_itself() {
    let tree = json!({ "properties": { "left": { "$ref": "#" }, "n": { "type": "integer" } } });
    assert!(fits(&tree, &json!({ "left": { "left": { "n": 1 } } })));
    let told = misfits(&tree, &json!({ "left": { "left": { "n": "a" } } }));
    assert_eq!(told, ["`/left/left/n` is a string, not integer"]);
    let endless = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/a" } } });
    assert_eq!(misfits(&endless, &json!(1)), ["the data nests deeper than the schema can follow"]);
}

#[test]
fn a_schema_that_makes_no_sense_is_refused_with_its_place() {
    for (schema, expected) in [
        (json!({ "requierd": [] }), "`schema/requierd` is a keyword that is not known here"),
        (
            json!({ "properties": { "a": { "type": "text" } } }),
            "`schema/properties/a/type` names `text`; there are null, boolean,",
        ),
        (json!({ "items": { "minItems": -1 } }), "`schema/items/minItems` is not a whole number"),
        (json!({ "pattern": "(?=a)" }), "`schema/pattern` is a pattern that is not understood"),
        (json!({ "$ref": "other.json" }), "`schema/$ref` leads to `other.json`, where there is"),
        (json!({ "$ref": "#/$defs/a" }), "leads to `#/$defs/a`, where there is nothing"),
        (json!({ "unevaluatedItems": false }), "not known here"),
        (json!({ "allOf": [7] }), "`schema/allOf/0` is no schema"),
        (json!(7), "`schema` is no schema"),
    ] {
        let told = refused(&schema);
        assert!(told.contains(expected), "{schema}: {told}");
    }
    assert!(fits(&json!({ "x-owner": "shop", "format": "email" }), &json!("a")));
}

#[test]
fn events_pass_or_fail() {
    let schema = r#"{"type":"object","required":["id"]}"#;
    let text = serde_json::to_string(&json!({ "schema": schema })).unwrap();
    for config in [text, format!(r#"{{"schema":{schema}}}"#)] {
        let mut validate = Harness::<Validate>::new(&config).unwrap();
        assert_eq!(validate.judge(event().data(r#"{"id":1}"#)), Judged::Keep);
        let judged = validate.judge(event().data("{}"));
        assert_eq!(judged, Judged::Fail(FailureKind::Invalid, "`/id` is missing".to_owned()));
        let judged = validate.judge(event().data("no JSON"));
        assert!(matches!(judged, Judged::Fail(FailureKind::Invalid, _)), "{judged:?}");
    }
    let refused = Harness::<Validate>::new(r#"{"schema":"{"}"#).unwrap_err();
    assert!(refused.starts_with("`schema` is a text, but not of JSON"), "{refused}");
}

#[test]
fn the_schema_is_a_schema_that_fits_its_config() {
    let schema: Value = serde_json::from_str(Validate::SCHEMA.unwrap()).unwrap();
    assert!(fits(&schema, &json!({ "schema": {} })));
    assert_eq!(misfits(&schema, &json!({ "schema": 7, "x": 1 })).len(), 2);
}
