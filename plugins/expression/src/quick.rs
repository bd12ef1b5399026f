//! The usual conditions, decided without the interpreter, which takes several times as long.
//!
//! Comparisons of fields and attributes with each other and with constants, and what joins them.
//! Where an answer is not plain (an error, a list, numbers that fractions cannot hold) there is
//! none, and the interpreter decides; so the meaning of an expression is always the interpreter's.

use std::cmp::Ordering;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use weir_plugin::{Event, Field};

use crate::functions::{GREATER, GREATER_EQUALS, LESS, LESS_EQUALS};
use crate::reads::{Reads, Slot};

/// Whole numbers up to here have a fraction of their own.
const EXACT_MAX: u64 = 1 << 53;

/// A condition of a usual form.
#[derive(Debug)]
pub(crate) enum Quick {
    Constant(bool),
    Not(Box<Quick>),
    And(Box<Quick>, Box<Quick>),
    Or(Box<Quick>, Box<Quick>),
    Equal(Operand, Operand),
    /// Whether the left side compares with the right one in one of these ways.
    Ordered(Operand, Operand, &'static [Ordering]),
    StartsWith(Operand, Operand),
}

/// One side of a comparison.
#[derive(Debug)]
pub(crate) enum Operand {
    Slot(usize),
    Id,
    Source,
    Type,
    Subject,
    Text(String),
    Number(Number),
    Bool(bool),
    Null,
}

/// What one side of a comparison is for an event.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Plain<'a> {
    Text(&'a str),
    Number(Number),
    Bool(bool),
    Null,
}

/// A number that compares as CEL has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Whole(i64),
    Fraction(f64),
}

impl Quick {
    /// The condition of a rewritten tree, if it has a usual form.
    pub(crate) fn of(tree: &IdedExpr) -> Option<Self> {
        match &tree.expr {
            Expr::Literal(LiteralValue::Boolean(is_true)) => Some(Self::Constant(*is_true.inner())),
            Expr::Call(call) => Self::call(call),
            _ => None,
        }
    }

    fn call(call: &CallExpr) -> Option<Self> {
        if let Some(target) = &call.target {
            let ("startsWith", [prefix]) = (call.func_name.as_str(), call.args.as_slice()) else {
                return None;
            };
            return Some(Self::StartsWith(Operand::of(target)?, Operand::of(prefix)?));
        }
        let inner = |index: usize| Self::of(&call.args[index]).map(Box::new);
        let sides = || Some((Operand::of(&call.args[0])?, Operand::of(&call.args[1])?));
        let ordered = |ways| sides().map(|(left, right)| Self::Ordered(left, right, ways));
        match (call.func_name.as_str(), call.args.len()) {
            (operators::LOGICAL_NOT, 1) => Some(Self::Not(inner(0)?)),
            (operators::LOGICAL_AND, 2) => Some(Self::And(inner(0)?, inner(1)?)),
            (operators::LOGICAL_OR, 2) => Some(Self::Or(inner(0)?, inner(1)?)),
            (operators::EQUALS, 2) => sides().map(|(left, right)| Self::Equal(left, right)),
            (operators::NOT_EQUALS, 2) => {
                sides().map(|(left, right)| Self::Not(Box::new(Self::Equal(left, right))))
            }
            (LESS, 2) => ordered(&[Ordering::Less]),
            (LESS_EQUALS, 2) => ordered(&[Ordering::Less, Ordering::Equal]),
            (GREATER, 2) => ordered(&[Ordering::Greater]),
            (GREATER_EQUALS, 2) => ordered(&[Ordering::Greater, Ordering::Equal]),
            _ => None,
        }
    }

    /// Whether it is true of `event`, where that is plain.
    pub(crate) fn decide(&self, reads: &Reads, event: &Event<'_>) -> Option<bool> {
        match self {
            Self::Constant(is_true) => Some(*is_true),
            Self::Not(inner) => inner.decide(reads, event).map(|is_true| !is_true),
            Self::And(left, right) => match left.decide(reads, event)? {
                true => right.decide(reads, event),
                false => Some(false),
            },
            Self::Or(left, right) => match left.decide(reads, event)? {
                true => Some(true),
                false => right.decide(reads, event),
            },
            Self::Equal(left, right) => {
                match (left.read(reads, event)?, right.read(reads, event)?) {
                    (Plain::Text(left), Plain::Text(right)) => Some(left == right),
                    (Plain::Number(left), Plain::Number(right)) => {
                        left.compare(right).map(Ordering::is_eq)
                    }
                    (Plain::Bool(left), Plain::Bool(right)) => Some(left == right),
                    (left, right) if left == Plain::Null || right == Plain::Null => {
                        Some(left == right)
                    }
                    _ => None,
                }
            }
            Self::Ordered(left, right, ways) => {
                let ordering = match (left.read(reads, event)?, right.read(reads, event)?) {
                    (Plain::Null, _) | (_, Plain::Null) => return Some(false),
                    (Plain::Text(left), Plain::Text(right)) => left.cmp(right),
                    (Plain::Number(left), Plain::Number(right)) => left.compare(right)?,
                    _ => return None,
                };
                Some(ways.contains(&ordering))
            }
            Self::StartsWith(text, prefix) => {
                match (text.read(reads, event)?, prefix.read(reads, event)?) {
                    (Plain::Text(text), Plain::Text(prefix)) => Some(text.starts_with(prefix)),
                    (Plain::Null, _) => Some(false),
                    _ => None,
                }
            }
        }
    }
}

impl Operand {
    /// The operand of a rewritten tree, if it is a field, an attribute or a constant.
    pub(crate) fn of(tree: &IdedExpr) -> Option<Self> {
        Some(match &tree.expr {
            Expr::Ident(name) => match name.as_str() {
                "id" => Self::Id,
                "source" => Self::Source,
                "type" => Self::Type,
                "subject" => Self::Subject,
                name => Self::Slot(name.strip_prefix('@')?.parse().ok()?),
            },
            Expr::Literal(literal) => match literal {
                LiteralValue::String(text) => Self::Text(text.inner().to_owned()),
                LiteralValue::Int(number) => Self::Number(Number::Whole(*number.inner())),
                LiteralValue::Double(number) => Self::Number(Number::Fraction(*number.inner())),
                LiteralValue::Boolean(is_true) => Self::Bool(*is_true.inner()),
                LiteralValue::Null => Self::Null,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The text of an event's field or attribute, where it is one.
    pub(crate) fn text<'a>(&self, reads: &Reads, event: &Event<'a>) -> Option<&'a str> {
        match self {
            Self::Slot(slot) => match reads.slot(*slot)? {
                (Slot::Data(_), Some(field)) => event.field_at(field).as_str(),
                (Slot::Extension(name), _) => event.extension(name),
                _ => None,
            },
            Self::Id => Some(event.id()),
            Self::Source => Some(event.source()),
            Self::Type => Some(event.event_type()),
            Self::Subject => event.subject(),
            _ => None,
        }
    }

    fn read<'a>(&'a self, reads: &Reads, event: &Event<'a>) -> Option<Plain<'a>> {
        let text = |text: Option<&'a str>| Some(text.map_or(Plain::Null, Plain::Text));
        match self {
            Self::Slot(slot) => match reads.slot(*slot)? {
                (Slot::Data(_), Some(field)) => plain(event.field_at(field)),
                (Slot::Extension(name), _) => text(event.extension(name)),
                _ => None,
            },
            Self::Id | Self::Source | Self::Type | Self::Subject => text(self.text(reads, event)),
            Self::Text(constant) => text(Some(constant)),
            Self::Number(number) => Some(Plain::Number(*number)),
            Self::Bool(is_true) => Some(Plain::Bool(*is_true)),
            Self::Null => Some(Plain::Null),
        }
    }
}

impl Number {
    /// How two numbers compare, where fractions can hold both.
    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(left), Self::Whole(right)) => Some(left.cmp(&right)),
            (left, right) => left.fraction()?.partial_cmp(&right.fraction()?),
        }
    }

    fn fraction(self) -> Option<f64> {
        match self {
            Self::Whole(number) => (number.unsigned_abs() <= EXACT_MAX).then_some(number as f64),
            Self::Fraction(number) => Some(number),
        }
    }
}

fn plain(field: Field<'_>) -> Option<Plain<'_>> {
    Some(match field {
        Field::Absent | Field::Null => Plain::Null,
        Field::Bool(is_true) => Plain::Bool(is_true),
        Field::Text(text) => Plain::Text(text),
        Field::Number(text) if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) => {
            Plain::Number(Number::Fraction(text.parse().ok()?))
        }
        // One beyond 64 bits is left to the interpreter.
        Field::Number(text) => Plain::Number(Number::Whole(text.parse().ok()?)),
        Field::Json(_) => return None,
    })
}
