//! What an expression gives, as JSON.

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelOptional, CelString, CelUInt,
};
use cel::common::value::Val;
use serde_json::{Map, Number, Value};

use crate::functions::is_null;

/// The value as a patch takes it; nothing where it is an optional without one.
///
/// # Errors
/// If JSON cannot hold it, a fragment that reads after the expression's name.
pub(crate) fn patched(value: &dyn Val) -> Result<Option<weir_plugin::Value>, String> {
    // The common ones need no document.
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return Ok(Some(text.inner().into()));
    }
    if let Some(optional) = value.downcast_ref::<CelOptional<'_>>() {
        return optional.inner().map_or(Ok(None), patched);
    }
    json(value).map(|value| Some(value.into()))
}

/// The text of a string, a number or a truth value; nothing for null.
///
/// # Errors
/// If it is something else, a fragment that reads after the expression's name.
pub(crate) fn text(value: &dyn Val) -> Result<Option<String>, String> {
    if let Some(optional) = value.downcast_ref::<CelOptional<'_>>() {
        return optional.inner().map_or(Ok(None), text);
    }
    match json(value)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        value @ (Value::Bool(_) | Value::Number(_)) => Ok(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => {
            Err(format!("gives a {}, not a text", value.get_type().name()))
        }
    }
}

fn json(value: &dyn Val) -> Result<Value, String> {
    if is_null(value) {
        return Ok(Value::Null);
    }
    if let Some(is_true) = value.downcast_ref::<CelBool>() {
        return Ok(Value::Bool(*is_true.inner()));
    }
    if let Some(number) = value.downcast_ref::<CelInt>() {
        return Ok((*number.inner()).into());
    }
    if let Some(number) = value.downcast_ref::<CelUInt>() {
        return Ok((*number.inner()).into());
    }
    if let Some(number) = value.downcast_ref::<CelDouble>() {
        let number = Number::from_f64(*number.inner());
        return number.map(Value::Number).ok_or_else(|| "gives no finite number".to_owned());
    }
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return Ok(text.inner().into());
    }
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        return list.inner().iter().map(|item| json(&**item)).collect();
    }
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        let entries = map.inner().iter().map(|(key, value)| {
            let key = match json(key.inner())? {
                Value::String(key) => key,
                key => key.to_string(),
            };
            Ok((key, json(&**value)?))
        });
        return entries.collect::<Result<Map<_, _>, String>>().map(Value::Object);
    }
    Err(format!("gives a value of type {}, which JSON does not have", value.get_type().name()))
}
