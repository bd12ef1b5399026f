//! Arithmetic as publishers of JSON expect it: `1` and `1.0` are numbers alike.
//!
//! CEL refuses to mix whole numbers and fractions; in JSON nobody can tell whether a price is going
//! to be `10` or `9.5`. Where the kinds differ, both sides become fractions.

use cel::ExecutionError;
use cel::common::types::{CelDouble, CelInt, CelUInt};
use cel::common::value::{CowVal, Val};

use crate::functions::{Answer, is_null};

/// What `+` becomes.
pub(crate) const ADD: &str = "@add";
/// What `-` becomes.
pub(crate) const SUBTRACT: &str = "@subtract";
/// What `*` becomes.
pub(crate) const MULTIPLY: &str = "@multiply";
/// What `/` becomes.
pub(crate) const DIVIDE: &str = "@divide";
/// What `%` becomes.
pub(crate) const MODULO: &str = "@modulo";

/// What an operator does with two values of one kind; `None` where their kind has no such operator.
type Operation = for<'v> fn(
    &(dyn Val + 'v),
    &(dyn Val + 'v),
) -> Option<Result<Box<dyn Val + 'v>, ExecutionError>>;

#[expect(clippy::needless_pass_by_value, reason = "the signature of a CEL function")]
pub(crate) fn add<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    calculate("add", &arguments, |left, right| {
        Some(left.as_adder()?.add(right).map(CowVal::into_owned))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a CEL function")]
pub(crate) fn subtract<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    calculate("subtract", &arguments, |left, right| {
        Some(left.as_subtractor()?.sub(right).map(CowVal::into_owned))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a CEL function")]
pub(crate) fn multiply<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    calculate("multiply", &arguments, |left, right| {
        Some(left.as_multiplier()?.mul(right).map(CowVal::into_owned))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a CEL function")]
pub(crate) fn divide<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    calculate("divide", &arguments, |left, right| {
        Some(left.as_divider()?.div(right).map(CowVal::into_owned))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a CEL function")]
pub(crate) fn modulo<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    calculate("take the remainder of", &arguments, |left, right| {
        Some(left.as_modder()?.modulo(right).map(CowVal::into_owned))
    })
}

fn calculate<'b, 'v>(
    verb: &str,
    arguments: &[CowVal<'b, 'v>],
    operation: Operation,
) -> Answer<'b, 'v> {
    let [left, right] = arguments else { unreachable!("an operator has two sides") };
    let (left, right) = (&**left, &**right);
    if !is_null(left)
        && !is_null(right)
        && left.get_type() != right.get_type()
        && let (Some(left), Some(right)) = (fraction(left), fraction(right))
        && let Some(answer) = operation(&left, &right)
    {
        return answer.map(CowVal::Owned);
    }
    match operation(left, right) {
        Some(Ok(value)) => Ok(CowVal::Owned(value)),
        Some(Err(
            error @ ExecutionError::DivisionByZero(_) | error @ ExecutionError::Overflow(..),
        )) => Err(error),
        _ => {
            let (left, right) = (left.get_type().name(), right.get_type().name());
            let message = format!("cannot {verb} {left} and {right}");
            Err(ExecutionError::function_error(verb, message))
        }
    }
}

/// The value of a number, whatever its kind.
fn fraction(value: &dyn Val) -> Option<CelDouble> {
    if let Some(number) = value.downcast_ref::<CelInt>() {
        return Some(CelDouble::from(*number.inner() as f64));
    }
    if let Some(number) = value.downcast_ref::<CelUInt>() {
        return Some(CelDouble::from(*number.inner() as f64));
    }
    value.downcast_ref::<CelDouble>().map(|number| CelDouble::from(*number.inner()))
}
