//! Makes databases in MaxMind's format: networks by their first bits, each with a country.

/// Bytes between the tree and the data.
const GAP: [u8; 16] = [0; 16];

/// A database for IPv4 that knows one network of `bits` bits, the one of `address`, and says that it
/// is in `country`.
pub fn network(address: [u8; 4], bits: u8, country: &str) -> Vec<u8> {
    let nodes = u32::from(bits);
    let prefix = u32::from_be_bytes(address);
    let mut file = Vec::new();
    for depth in 0..nodes {
        // The last node leads to the first byte of the data, every other one to the next.
        let onward = if depth + 1 == nodes { nodes + 16 } else { depth + 1 };
        let is_right = prefix >> (31 - depth) & 1 == 1;
        let [left, right] = if is_right { [nodes, onward] } else { [onward, nodes] };
        file.extend_from_slice(&left.to_be_bytes()[1..]);
        file.extend_from_slice(&right.to_be_bytes()[1..]);
    }
    file.extend_from_slice(&GAP);
    file.extend(map(&[("country", map(&[("iso_code", text(country))]))]));
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    file.extend(map(&[
        ("binary_format_major_version", number(2)),
        ("binary_format_minor_version", number(0)),
        ("build_epoch", vec![1, 2, 1]),
        ("database_type", text("Test")),
        ("description", map(&[])),
        ("ip_version", number(4)),
        ("languages", vec![0, 4]),
        ("node_count", [&[0xc4][..], &nodes.to_be_bytes()].concat()),
        ("record_size", number(24)),
    ]));
    file
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0xe0 | u8::try_from(entries.len()).expect("a small map")];
    for (key, value) in entries {
        bytes.extend(text(key));
        bytes.extend_from_slice(value);
    }
    bytes
}

/// A text of less than 29 bytes.
fn text(text: &str) -> Vec<u8> {
    let head = 0x40 | u8::try_from(text.len()).expect("a short text");
    [&[head][..], text.as_bytes()].concat()
}

/// A number of two bytes.
fn number(number: u8) -> Vec<u8> {
    vec![0xa2, 0, number]
}
