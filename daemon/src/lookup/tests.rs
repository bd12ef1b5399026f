//! Tables of each format, and what is said about files that are none.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;

use super::{Format, LookupTable, TableError, TableSettings};

#[test]
fn csv_rows_are_objects_of_strings() {
    let text = "user,plan,\"full \"\"name\"\"\"\r\nu1,pro,\"Ann, née\r\nB\"\r\n\r\nu2,,x\n";
    let table = table("csv", Format::Csv, None, text).unwrap();
    let expected = r#"{"plan":"pro","full \"name\"":"Ann, née\r\nB"}"#;
    assert_eq!(
        look_up(&table, &["u1", "u3", "u2"]),
        [Some(expected.to_owned()), None, Some(r#"{"plan":"","full \"name\"":"x"}"#.to_owned()),]
    );
}

#[test]
fn the_key_may_be_another_column() {
    let table = table("column", Format::Csv, Some("plan"), "user,plan\nu1,pro").unwrap();
    assert_eq!(look_up(&table, &["pro"]), [Some(r#"{"user":"u1"}"#.to_owned())]);
}

#[test]
fn json_keeps_the_text_of_values() {
    let object = table("object", Format::Json, None, "{\"a\":{\"n\": 1.0},\"b\\n\":7}").unwrap();
    let one = Some(r#"{"n": 1.0}"#.to_owned());
    assert_eq!(look_up(&object, &["a", "b\n", "c"]), [one, Some("7".to_owned()), None]);
    let text = "\u{feff}{\"id\":\"a\",\"n\":1}\n\n  {\"n\":2,\"id\":17}\r\n";
    let lines = table("lines", Format::Jsonl, None, text).unwrap();
    let (first, second) = (r#"{"id":"a","n":1}"#.to_owned(), r#"{"n":2,"id":17}"#.to_owned());
    assert_eq!(look_up(&lines, &["a", "17"]), [Some(first), Some(second)]);
}

#[test]
fn a_file_that_is_no_table_is_told_with_its_line() {
    let wrong = [
        (Format::Csv, None, "", "it is empty; its first line names the columns"),
        (Format::Csv, Some("id"), "a,b\n", "it has no column `id`, it has `a`, `b`"),
        (Format::Csv, None, "a,b\n1,2\n3\n", "line 3: 1 fields where 2 are named"),
        (Format::Csv, None, "a\n\"x\ny\"\n1\n1\n", "line 5: the key \"1\" is there twice"),
        (Format::Csv, None, "a\n\"x", "line 2: a field begins with a quote and does not end"),
        (Format::Csv, None, "a\n\"x\"y\n", "line 2: something follows a field in quotes"),
        (Format::Json, None, "[]", "invalid type: sequence, expected an object that has"),
        (Format::Json, None, "{\"a\":1,\"a\":2}", "the key \"a\" is there twice"),
        (Format::Json, None, "{} {}", "trailing characters at line 1 column 4"),
        (Format::Jsonl, None, "{\"id\":1}\n{\"ID\":2}", "line 2: the object has no `id`"),
        (Format::Jsonl, None, "{\"id\":[]}", "line 1: `id` is neither a string nor a number"),
        (Format::Jsonl, None, "7", "line 1: invalid type: integer `7`, expected an object"),
        (Format::Mmdb, None, "text", "could not find MaxMind DB metadata"),
    ];
    for (index, (format, key, text, words)) in wrong.into_iter().enumerate() {
        let TableError(message) = table(&format!("wrong{index}"), format, key, text).unwrap_err();
        assert!(message.contains(words), "{text:?}: {message}");
    }
}

#[test]
fn a_changed_file_is_read_once_and_put_in_force_when_told() {
    let path = file("changed", "k,v\na,1\n");
    let settings = TableSettings { file: path.clone(), format: Format::Csv, key: None };
    let table = LookupTable::new(settings);
    assert!(!table.is_loaded());
    table.replace(table.prepare().unwrap().unwrap());
    assert!(table.is_loaded() && table.prepare().unwrap().is_none());
    fs::write(&path, "k,v\na,22\n").unwrap();
    let fresh = table.prepare().unwrap().unwrap();
    assert_eq!(look_up(&table, &["a"]), [Some(r#"{"v":"1"}"#.to_owned())]);
    table.replace(fresh);
    assert_eq!(look_up(&table, &["a"]), [Some(r#"{"v":"22"}"#.to_owned())]);
    fs::write(&path, "k,v\na\n").unwrap();
    assert!(table.prepare().is_err());
    fs::remove_file(&path).unwrap();
    assert!(table.prepare().unwrap_err().0.contains("No such file"));
    assert_eq!(look_up(&table, &["a"]), [Some(r#"{"v":"22"}"#.to_owned())]);
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("weir-table-{name}-{}", std::process::id()));
    fs::write(&path, text).unwrap();
    path
}

fn table(
    name: &str,
    format: Format,
    key: Option<&str>,
    text: &str,
) -> Result<LookupTable, TableError> {
    let file = file(name, text);
    let settings = TableSettings { file: file.clone(), format, key: key.map(str::to_owned) };
    let table = LookupTable::new(settings);
    let fresh = table.prepare();
    fs::remove_file(file).unwrap();
    table.replace(fresh?.unwrap());
    Ok(table)
}

fn look_up(table: &LookupTable, keys: &[&str]) -> Vec<Option<String>> {
    let mut found = Vec::new();
    let done: Result<(), Infallible> = table.look_up(keys, |value| {
        found.push(value.map(str::to_owned));
        Ok(())
    });
    done.unwrap();
    found
}
