//! Who a client says it is, in `channel_data` of a presence channel and `user_data` of a sign-in.

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::live::presence::Member;

/// Longest id of a user.
const USER_LEN_MAX: usize = 128;

/// Why a text says nobody.
#[derive(Debug, Error)]
pub(in crate::live) enum MemberError {
    #[error("{0} is not JSON: {1}")]
    Json(&'static str, serde_json::Error),
    #[error("{0} has no `{1}` that is a number or a string of 1 to {USER_LEN_MAX} bytes")]
    Id(&'static str, &'static str),
    #[error("{0} is longer than {1} bytes")]
    TooLong(&'static str, usize),
}

#[derive(Debug, Deserialize)]
struct ChannelData<'a> {
    #[serde(borrow, default)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    user_info: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct UserData<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    user_info: Option<&'a RawValue>,
}

/// Reads `channel_data` of at most `len_max` bytes.
pub(in crate::live) fn member(text: &str, len_max: usize) -> Result<Member, MemberError> {
    const WHAT: &str = "`channel_data`";
    check(WHAT, text, len_max)?;
    let data: ChannelData<'_> =
        serde_json::from_str(text).map_err(|error| MemberError::Json(WHAT, error))?;
    let number = data.user_id.filter(|id| id.get().starts_with(|first: char| is_number(first)));
    let user = number.map(|id| id.get().into()).or_else(|| words(data.user_id));
    made(user.ok_or(MemberError::Id(WHAT, "user_id")), data.user_info)
}

/// Reads `user_data` of at most `len_max` bytes.
pub(in crate::live) fn user(text: &str, len_max: usize) -> Result<Member, MemberError> {
    const WHAT: &str = "`user_data`";
    check(WHAT, text, len_max)?;
    let data: UserData<'_> =
        serde_json::from_str(text).map_err(|error| MemberError::Json(WHAT, error))?;
    made(words(data.id).ok_or(MemberError::Id(WHAT, "id")), data.user_info)
}

fn check(what: &'static str, text: &str, len_max: usize) -> Result<(), MemberError> {
    if text.len() > len_max { Err(MemberError::TooLong(what, len_max)) } else { Ok(()) }
}

fn is_number(first: char) -> bool {
    first == '-' || first.is_ascii_digit()
}

/// The string that `value` is, if it does as an id.
fn words(value: Option<&RawValue>) -> Option<Box<str>> {
    let text: String = serde_json::from_str(value?.get()).ok()?;
    let is_id = !text.is_empty() && text.len() <= USER_LEN_MAX;
    is_id.then(|| text.into())
}

fn made(
    user: Result<Box<str>, MemberError>,
    info: Option<&RawValue>,
) -> Result<Member, MemberError> {
    // A line break in valid JSON is white space, and ends a frame.
    let flat = |info: &RawValue| info.get().replace(['\n', '\r'], " ").into();
    Ok(Member { user: user?, info: info.map(flat) })
}
