//! A schema from its JSON to rules that can be checked.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::{Map, Value};

use crate::keywords;

/// How many schemas one may consist of, itself included.
const NODES_MAX: usize = 10_000;
/// How deep schemas may nest.
const DEPTH_MAX: usize = 64;

/// A compiled schema: the first node is the whole, others are parts of it.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) nodes: Vec<Vec<Rule>>,
}

/// The number of a node.
pub(crate) type Node = usize;

/// One thing that a value has to fulfil. Rules on one kind of value say nothing about others.
#[derive(Debug)]
pub(crate) enum Rule {
    Never,
    Type(Vec<String>),
    Enum(Vec<Value>),
    Minimum(f64),
    ExclusiveMinimum(f64),
    Maximum(f64),
    ExclusiveMaximum(f64),
    MultipleOf(f64),
    MinLength(u64),
    MaxLength(u64),
    Pattern(Regex),
    Items { prefix: Vec<Node>, others: Option<Node> },
    Contains { node: Node, min: u64, max: u64 },
    MinItems(u64),
    MaxItems(u64),
    UniqueItems,
    Properties(Properties),
    Required(Vec<String>),
    MinProperties(u64),
    MaxProperties(u64),
    PropertyNames(Node),
    DependentRequired(BTreeMap<String, Vec<String>>),
    DependentSchemas(Vec<(String, Node)>),
    AllOf(Vec<Node>),
    AnyOf(Vec<Node>),
    OneOf(Vec<Node>),
    Not(Node),
    If { condition: Node, then: Option<Node>, otherwise: Option<Node> },
}

/// What the members of an object have to be.
#[derive(Debug, Default)]
pub(crate) struct Properties {
    pub(crate) named: BTreeMap<String, Node>,
    pub(crate) patterns: Vec<(Regex, Node)>,
    /// What all others have to be.
    pub(crate) others: Option<Node>,
}

/// A schema while it is compiled.
pub(crate) struct Compiler<'s> {
    root: &'s Value,
    nodes: Vec<Vec<Rule>>,
    /// The nodes that `$ref` reached, by their place.
    known: BTreeMap<String, Node>,
    /// The place of what is compiled, for messages.
    place: Vec<String>,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub(crate) fn compile(root: &Value) -> Result<Self, String> {
        let mut compiler =
            Compiler { root, nodes: Vec::new(), known: BTreeMap::new(), place: Vec::new() };
        compiler.reference("#")?;
        Ok(Self { nodes: compiler.nodes })
    }
}

impl Compiler<'_> {
    /// The node of a schema that is at `keyword` of the one at hand.
    pub(crate) fn child(&mut self, keyword: &str, schema: &Value) -> Result<Node, String> {
        self.place.push(keyword.to_owned());
        let node = self.reserve()?;
        self.fill(node, schema)?;
        self.place.pop();
        Ok(node)
    }

    /// The nodes of a list of schemas.
    pub(crate) fn children(&mut self, keyword: &str, schemas: &Value) -> Result<Vec<Node>, String> {
        let Value::Array(schemas) = schemas else {
            return Err(self.wrong(keyword, "is not a list of schemas"));
        };
        let mut nodes = Vec::with_capacity(schemas.len());
        for (index, schema) in schemas.iter().enumerate() {
            nodes.push(self.child(&format!("{keyword}/{index}"), schema)?);
        }
        Ok(nodes)
    }

    /// The nodes of an object whose members are schemas.
    pub(crate) fn members(
        &mut self,
        keyword: &str,
        schemas: &Value,
    ) -> Result<Vec<(String, Node)>, String> {
        let Value::Object(schemas) = schemas else {
            return Err(self.wrong(keyword, "is not an object of schemas"));
        };
        let mut nodes = Vec::with_capacity(schemas.len());
        for (name, schema) in schemas {
            nodes.push((name.clone(), self.child(&format!("{keyword}/{name}"), schema)?));
        }
        Ok(nodes)
    }

    /// The node of the schema at the place that a `$ref` names.
    pub(crate) fn reference(&mut self, reference: &str) -> Result<Node, String> {
        if let Some(known) = self.known.get(reference) {
            return Ok(*known);
        }
        let schema = pointer(reference).and_then(|pointer| self.root.pointer(&pointer));
        let Some(schema) = schema else {
            let message = format!(
                "leads to `{reference}`, where there is nothing; places begin with `#/` and are \
                 within the schema"
            );
            return Err(self.wrong("$ref", &message));
        };
        let node = self.reserve()?;
        self.known.insert(reference.to_owned(), node);
        let schema = schema.clone();
        let outer = std::mem::take(&mut self.place);
        self.place.push(reference.trim_start_matches(['#', '/']).to_owned());
        self.place.retain(|part| !part.is_empty());
        self.fill(node, &schema)?;
        self.place = outer;
        Ok(node)
    }

    /// A message about `keyword` of the schema at hand.
    pub(crate) fn wrong(&self, keyword: &str, what: &str) -> String {
        let place: String = self.place.iter().map(|part| format!("/{part}")).collect();
        format!("`schema{place}/{keyword}` {what}")
    }

    fn reserve(&mut self) -> Result<Node, String> {
        if self.nodes.len() >= NODES_MAX {
            return Err(format!("`schema` consists of more than {NODES_MAX} schemas"));
        }
        self.nodes.push(Vec::new());
        Ok(self.nodes.len() - 1)
    }

    fn fill(&mut self, node: Node, schema: &Value) -> Result<(), String> {
        if self.place.len() > DEPTH_MAX {
            return Err(format!("`schema` nests deeper than {DEPTH_MAX}"));
        }
        self.nodes[node] = match schema {
            Value::Bool(true) => Vec::new(),
            Value::Bool(false) => vec![Rule::Never],
            Value::Object(keywords) => self.rules(keywords)?,
            _ => {
                let place: String = self.place.iter().map(|part| format!("/{part}")).collect();
                return Err(format!(
                    "`schema{place}` is no schema, but neither object nor boolean"
                ));
            }
        };
        Ok(())
    }

    fn rules(&mut self, schema: &Map<String, Value>) -> Result<Vec<Rule>, String> {
        let mut rules = Vec::new();
        for (keyword, value) in schema {
            if let Some(rule) = keywords::rule(self, schema, keyword, value)? {
                rules.push(rule);
            }
        }
        // What is cheap and tells most comes first.
        rules.sort_by_key(|rule| !matches!(rule, Rule::Never | Rule::Type(_)));
        Ok(rules)
    }
}

/// The JSON pointer in a reference to a place within the schema.
fn pointer(reference: &str) -> Option<String> {
    let encoded = reference.strip_prefix('#')?;
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}
