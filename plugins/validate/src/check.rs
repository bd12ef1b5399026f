//! Checks a value against a compiled schema, and says where it does not fit.

use std::fmt::Write;

use serde_json::{Map, Number, Value};

use crate::compile::{Node, Properties, Rule, Schema};
use crate::equal::{all_differ, equal};

/// How many misfits are told.
const MISFITS_MAX: usize = 5;
/// How deep schemas may lead into each other while one value is checked.
const DEPTH_MAX: usize = 256;
/// How much of a place is told, in characters.
const PLACE_MAX: usize = 120;

/// One value while it is checked.
struct Check<'a> {
    schema: &'a Schema,
    place: Vec<Part<'a>>,
    misfits: Vec<String>,
    /// After so many misfits nothing more is looked at.
    enough: usize,
    depth: usize,
}

/// A step of a place in the data.
#[derive(Clone, Copy)]
enum Part<'a> {
    Key(&'a str),
    Index(usize),
}

impl Schema {
    /// Whether `data` fits.
    ///
    /// # Errors
    /// Where it does not, and why.
    pub(crate) fn check(&self, data: &Value) -> Result<(), Vec<String>> {
        let mut check = Check {
            schema: self,
            place: Vec::new(),
            misfits: Vec::new(),
            enough: MISFITS_MAX,
            depth: 0,
        };
        check.node(0, data);
        if check.misfits.is_empty() { Ok(()) } else { Err(check.misfits) }
    }
}

impl<'a> Check<'a> {
    fn node(&mut self, node: Node, value: &'a Value) {
        if self.depth >= DEPTH_MAX {
            return self.misfit("nests deeper than the schema can follow");
        }
        self.depth += 1;
        let schema = self.schema;
        for rule in &schema.nodes[node] {
            let before = self.misfits.len();
            self.rule(rule, value);
            // What has the wrong type fits nothing else either, which says nothing new.
            let is_hopeless = matches!(rule, Rule::Type(_)) && self.misfits.len() > before;
            if is_hopeless || self.misfits.len() >= self.enough {
                break;
            }
        }
        self.depth -= 1;
    }

    fn fits(&self, node: Node, value: &Value) -> bool {
        fits(self.schema, node, value, self.depth)
    }

    fn rule(&mut self, rule: &Rule, value: &'a Value) {
        match rule {
            Rule::Never => self.misfit("is not allowed"),
            Rule::Type(types) if !types.iter().any(|name| is_of(value, name)) => {
                let (is, wanted) = (type_of(value), types.join(" or "));
                self.misfit(&format!("is {is}, not {wanted}"));
            }
            Rule::Enum(values) if !values.iter().any(|known| equal(known, value)) => {
                match values.as_slice() {
                    [only] => self.misfit(&format!("is not {only}")),
                    _ => self.misfit("is none of the values that are allowed"),
                }
            }
            Rule::Not(node) if self.fits(*node, value) => {
                self.misfit("fits the schema of `not`");
            }
            Rule::AllOf(nodes) => nodes.iter().for_each(|node| self.node(*node, value)),
            Rule::AnyOf(nodes) if !nodes.iter().any(|node| self.fits(*node, value)) => {
                self.misfit("fits none of the schemas of `anyOf`");
            }
            Rule::OneOf(nodes) => {
                let fitting = nodes.iter().filter(|node| self.fits(**node, value)).count();
                if fitting != 1 {
                    self.misfit(&format!("fits {fitting} of the schemas of `oneOf`, not one"));
                }
            }
            Rule::DependentSchemas(nodes) => {
                let has = |name: &str| value.as_object().is_some_and(|it| it.contains_key(name));
                let nodes = nodes.iter().filter(|(name, _)| has(name));
                nodes.for_each(|(_, node)| self.node(*node, value));
            }
            Rule::If { condition, then, otherwise } => {
                let branch = if self.fits(*condition, value) { then } else { otherwise };
                if let Some(node) = branch {
                    self.node(*node, value);
                }
            }
            _ => match value {
                Value::Number(number) => self.number(rule, number),
                Value::String(text) => self.text(rule, text),
                Value::Array(items) => self.array(rule, items),
                Value::Object(members) => self.object(rule, members),
                Value::Null | Value::Bool(_) => {}
            },
        }
    }

    fn number(&mut self, rule: &Rule, number: &Number) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        match rule {
            Rule::Minimum(min) if value < *min => self.misfit(&format!("is less than {min}")),
            Rule::ExclusiveMinimum(min) if value <= *min => {
                self.misfit(&format!("is not greater than {min}"));
            }
            Rule::Maximum(max) if value > *max => self.misfit(&format!("is greater than {max}")),
            Rule::ExclusiveMaximum(max) if value >= *max => {
                self.misfit(&format!("is not less than {max}"));
            }
            Rule::MultipleOf(divisor) if !is_multiple(value, *divisor) => {
                self.misfit(&format!("is no multiple of {divisor}"));
            }
            _ => {}
        }
    }

    fn text(&mut self, rule: &Rule, text: &str) {
        let len = || text.chars().count() as u64;
        match rule {
            Rule::MinLength(min) if len() < *min => {
                self.misfit(&format!("is shorter than {min} characters"));
            }
            Rule::MaxLength(max) if len() > *max => {
                self.misfit(&format!("is longer than {max} characters"));
            }
            Rule::Pattern(pattern) if !pattern.is_match(text) => {
                self.misfit(&format!("does not match {}", pattern.as_str()));
            }
            _ => {}
        }
    }

    fn array(&mut self, rule: &Rule, items: &'a [Value]) {
        let len = items.len() as u64;
        match rule {
            Rule::MinItems(min) if len < *min => {
                self.misfit(&format!("has less than {min} items"));
            }
            Rule::MaxItems(max) if len > *max => {
                self.misfit(&format!("has more than {max} items"));
            }
            Rule::UniqueItems if !all_differ(items) => self.misfit("has equal items"),
            Rule::Contains { node, min, max } => {
                let fitting = items.iter().filter(|item| self.fits(*node, item)).count() as u64;
                if fitting < *min || fitting > *max {
                    self.misfit(&format!("has {fitting} items that fit `contains`"));
                }
            }
            Rule::Items { prefix, others } => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(node) = prefix.get(index).or(others.as_ref()) {
                        self.at(Part::Index(index), *node, item);
                    }
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, rule: &Rule, members: &'a Map<String, Value>) {
        let len = members.len() as u64;
        match rule {
            Rule::Required(names) => self.required(names, members),
            Rule::MinProperties(min) if len < *min => {
                self.misfit(&format!("has less than {min} members"));
            }
            Rule::MaxProperties(max) if len > *max => {
                self.misfit(&format!("has more than {max} members"));
            }
            Rule::PropertyNames(node) => {
                for name in members.keys() {
                    if !fits(self.schema, *node, &Value::from(name.as_str()), self.depth) {
                        self.within(Part::Key(name), |it| {
                            it.misfit("has a name that is not allowed");
                        });
                    }
                }
            }
            Rule::DependentRequired(names) => {
                for (_, names) in names.iter().filter(|(name, _)| members.contains_key(*name)) {
                    self.required(names, members);
                }
            }
            Rule::Properties(properties) => self.properties(properties, members),
            _ => {}
        }
    }

    fn required(&mut self, names: &[String], members: &Map<String, Value>) {
        for name in names.iter().filter(|name| !members.contains_key(*name)) {
            let place = place(&self.place, Some(name));
            self.push(format!("{place} is missing"));
        }
    }

    fn properties(&mut self, properties: &Properties, members: &'a Map<String, Value>) {
        for (name, value) in members {
            let part = Part::Key(name);
            let named = properties.named.get(name).copied();
            let patterns = properties.patterns.iter().filter(|(it, _)| it.is_match(name));
            let nodes: Vec<Node> = named.into_iter().chain(patterns.map(|(_, it)| *it)).collect();
            for node in &nodes {
                self.at(part, *node, value);
            }
            if let (Some(node), true) = (properties.others, nodes.is_empty()) {
                self.at(part, node, value);
            }
        }
    }

    fn at(&mut self, part: Part<'a>, node: Node, value: &'a Value) {
        if self.misfits.len() < self.enough {
            self.within(part, |it| it.node(node, value));
        }
    }

    fn within(&mut self, part: Part<'a>, look: impl FnOnce(&mut Self)) {
        self.place.push(part);
        look(self);
        self.place.pop();
    }

    fn misfit(&mut self, what: &str) {
        let place = place(&self.place, None);
        self.push(format!("{place} {what}"));
    }

    fn push(&mut self, misfit: String) {
        if self.misfits.len() < self.enough {
            self.misfits.push(misfit);
        }
    }
}

/// Whether a value fits, without words.
fn fits(schema: &Schema, node: Node, value: &Value, depth: usize) -> bool {
    let mut check = Check { schema, place: Vec::new(), misfits: Vec::new(), enough: 1, depth };
    check.node(node, value);
    check.misfits.is_empty()
}

/// A place as a JSON pointer.
fn place(parts: &[Part<'_>], last: Option<&str>) -> String {
    if parts.is_empty() && last.is_none() {
        return "the data".to_owned();
    }
    let mut pointer = String::new();
    for part in parts.iter().copied().chain(last.map(Part::Key)) {
        match part {
            Part::Key(key) => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Part::Index(index) => {
                write!(pointer, "/{index}").expect("a string takes what is written");
            }
        }
    }
    if let Some((cut, _)) = pointer.char_indices().nth(PLACE_MAX) {
        pointer.truncate(cut);
        pointer.push('…');
    }
    format!("`{pointer}`")
}

fn is_of(value: &Value, name: &str) -> bool {
    match value {
        Value::Number(number) if name == "integer" => {
            !number.is_f64() || number.as_f64().is_some_and(|it| it.fract() == 0.0)
        }
        value => type_of(value).ends_with(name),
    }
}

/// What a value is, with its article.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Whether a number is so many times another, but for what fractions of two cannot hold.
fn is_multiple(value: f64, divisor: f64) -> bool {
    let times = value / divisor;
    if !times.is_finite() {
        return value % divisor == 0.0;
    }
    (times - times.round()).abs() <= times.abs() * 4.0 * f64::EPSILON
}
