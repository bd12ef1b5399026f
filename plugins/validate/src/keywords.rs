//! The keywords of JSON Schema, and the rule that each stands for.

use regex_lite::Regex;
use serde_json::{Map, Value};

use crate::compile::{Compiler, Properties, Rule};

/// Keywords that assert nothing, or that others read.
const ANNOTATIONS: &[&str] = &[
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentMediaType",
    "contentEncoding",
    "contentSchema",
    // Read by `items`, `properties`, `contains` and `if`.
    "prefixItems",
    "additionalItems",
    "patternProperties",
    "additionalProperties",
    "minContains",
    "maxContains",
    "then",
    "else",
];

/// The types that there are.
const TYPES: &[&str] = &["null", "boolean", "integer", "number", "string", "array", "object"];

/// The rule of one keyword, if it has one of its own.
pub(crate) fn rule(
    compiler: &mut Compiler<'_>,
    schema: &Map<String, Value>,
    keyword: &str,
    value: &Value,
) -> Result<Option<Rule>, String> {
    let count = |compiler: &Compiler<'_>| count(compiler, keyword, value);
    let number = |compiler: &Compiler<'_>| {
        value.as_f64().ok_or_else(|| compiler.wrong(keyword, "is not a number"))
    };
    Ok(Some(match keyword {
        "type" => Rule::Type(types(compiler, value)?),
        "enum" => match value {
            Value::Array(values) => Rule::Enum(values.clone()),
            _ => return Err(compiler.wrong(keyword, "is not a list")),
        },
        "const" => Rule::Enum(vec![value.clone()]),
        "minimum" => Rule::Minimum(number(compiler)?),
        "exclusiveMinimum" => Rule::ExclusiveMinimum(number(compiler)?),
        "maximum" => Rule::Maximum(number(compiler)?),
        "exclusiveMaximum" => Rule::ExclusiveMaximum(number(compiler)?),
        "multipleOf" => match number(compiler)? {
            divisor if divisor > 0.0 => Rule::MultipleOf(divisor),
            _ => return Err(compiler.wrong(keyword, "is not greater than 0")),
        },
        "minLength" => Rule::MinLength(count(compiler)?),
        "maxLength" => Rule::MaxLength(count(compiler)?),
        "pattern" => {
            let text = value.as_str().ok_or_else(|| compiler.wrong(keyword, "is not a string"))?;
            Rule::Pattern(pattern(compiler, keyword, text)?)
        }
        "contains" => contains(compiler, schema, value)?,
        "minItems" => Rule::MinItems(count(compiler)?),
        "maxItems" => Rule::MaxItems(count(compiler)?),
        "uniqueItems" => match value {
            Value::Bool(true) => Rule::UniqueItems,
            Value::Bool(false) => return Ok(None),
            _ => return Err(compiler.wrong(keyword, "is neither true nor false")),
        },
        "required" => Rule::Required(names(compiler, keyword, value)?),
        "minProperties" => Rule::MinProperties(count(compiler)?),
        "maxProperties" => Rule::MaxProperties(count(compiler)?),
        "propertyNames" => Rule::PropertyNames(compiler.child(keyword, value)?),
        "dependentRequired" => {
            let Value::Object(members) = value else {
                return Err(compiler.wrong(keyword, "is not an object"));
            };
            let members = members.iter();
            let members =
                members.map(|(name, list)| Ok((name.clone(), names(compiler, keyword, list)?)));
            Rule::DependentRequired(members.collect::<Result<_, String>>()?)
        }
        "dependentSchemas" => Rule::DependentSchemas(compiler.members(keyword, value)?),
        "allOf" => Rule::AllOf(compiler.children(keyword, value)?),
        "anyOf" => Rule::AnyOf(compiler.children(keyword, value)?),
        "oneOf" => Rule::OneOf(compiler.children(keyword, value)?),
        "not" => Rule::Not(compiler.child(keyword, value)?),
        "if" => {
            let condition = compiler.child(keyword, value)?;
            let mut branch = |name| schema.get(name).map(|it| compiler.child(name, it)).transpose();
            Rule::If { condition, then: branch("then")?, otherwise: branch("else")? }
        }
        "$ref" => match value.as_str() {
            Some(reference) => Rule::AllOf(vec![compiler.reference(reference)?]),
            None => return Err(compiler.wrong(keyword, "is not a string")),
        },
        _ => return grouped(compiler, schema, keyword),
    }))
}

/// The rules of keywords that only make sense together: the first of them that is there speaks for all.
fn grouped(
    compiler: &mut Compiler<'_>,
    schema: &Map<String, Value>,
    keyword: &str,
) -> Result<Option<Rule>, String> {
    let speaks = |group: &[&str]| {
        group.contains(&keyword)
            && group.iter().find(|it| schema.contains_key(**it)) == Some(&keyword)
    };
    if speaks(&["items", "prefixItems"]) {
        return items(compiler, schema).map(Some);
    }
    if speaks(&["properties", "patternProperties", "additionalProperties"]) {
        return properties(compiler, schema).map(Some);
    }
    let is_known = ["items", "properties"].contains(&keyword)
        || ANNOTATIONS.contains(&keyword)
        || keyword.starts_with("x-");
    if is_known {
        Ok(None)
    } else {
        Err(compiler.wrong(keyword, "is a keyword that is not known here"))
    }
}

fn items(compiler: &mut Compiler<'_>, schema: &Map<String, Value>) -> Result<Rule, String> {
    // A list in `items` is how draft 7 writes `prefixItems`.
    let (prefix, others) = match (schema.get("prefixItems"), schema.get("items")) {
        (None, Some(list @ Value::Array(_))) => (Some(("items", list)), "additionalItems"),
        (prefix, _) => (prefix.map(|list| ("prefixItems", list)), "items"),
    };
    let prefix = prefix.map(|(keyword, list)| compiler.children(keyword, list)).transpose()?;
    let others = schema.get(others).map(|it| compiler.child(others, it)).transpose()?;
    Ok(Rule::Items { prefix: prefix.unwrap_or_default(), others })
}

fn properties(compiler: &mut Compiler<'_>, schema: &Map<String, Value>) -> Result<Rule, String> {
    let mut rule = Properties::default();
    if let Some(named) = schema.get("properties") {
        rule.named = compiler.members("properties", named)?.into_iter().collect();
    }
    if let Some(patterns) = schema.get("patternProperties") {
        for (text, node) in compiler.members("patternProperties", patterns)? {
            rule.patterns.push((pattern(compiler, "patternProperties", &text)?, node));
        }
    }
    let others = schema.get("additionalProperties");
    rule.others = others.map(|it| compiler.child("additionalProperties", it)).transpose()?;
    Ok(Rule::Properties(rule))
}

fn contains(
    compiler: &mut Compiler<'_>,
    schema: &Map<String, Value>,
    value: &Value,
) -> Result<Rule, String> {
    let node = compiler.child("contains", value)?;
    let bound = |name: &str, default: u64| match schema.get(name) {
        None => Ok(default),
        Some(value) => count(compiler, name, value),
    };
    Ok(Rule::Contains { node, min: bound("minContains", 1)?, max: bound("maxContains", u64::MAX)? })
}

fn types(compiler: &Compiler<'_>, value: &Value) -> Result<Vec<String>, String> {
    let types = match value {
        Value::String(name) => vec![name.clone()],
        list => names(compiler, "type", list)?,
    };
    match types.iter().find(|name| !TYPES.contains(&name.as_str())) {
        Some(unknown) => {
            let what = format!("names `{unknown}`; there are {}", TYPES.join(", "));
            Err(compiler.wrong("type", &what))
        }
        None => Ok(types),
    }
}

fn count(compiler: &Compiler<'_>, keyword: &str, value: &Value) -> Result<u64, String> {
    let is_whole = |number: &f64| *number >= 0.0 && number.fract() == 0.0;
    let whole = value.as_f64().filter(is_whole).map(|number| number as u64);
    whole.ok_or_else(|| compiler.wrong(keyword, "is not a whole number from 0"))
}

fn names(compiler: &Compiler<'_>, keyword: &str, value: &Value) -> Result<Vec<String>, String> {
    let names = value.as_array().and_then(|list| {
        list.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
    });
    names.ok_or_else(|| compiler.wrong(keyword, "is not a list of strings"))
}

fn pattern(compiler: &Compiler<'_>, keyword: &str, text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        compiler.wrong(keyword, &format!("is a pattern that is not understood: {error}"))
    })
}
