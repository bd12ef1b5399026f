//! Passes over JSON text: checks it, and tells where values end.

use crate::find::Kind;

/// How deep arrays and objects may nest; as much as fits the bits that tell one from the other.
pub const DEPTH_MAX: u32 = 128;

/// Whether `text` is JSON, as a whole.
pub fn is_json(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.skip_space();
    scanner.skip_value(0).and_then(|_| scanner.end()).is_some()
}

/// Whether `text` is a JSON number, as a whole.
pub fn is_number(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.number().is_some() && scanner.at == text.len()
}

/// A place in a text. Where it answers `None`, the text is not JSON.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
}

/// A string that was passed, without its quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passed {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) is_escaped: bool,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0 }
    }

    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Passes `byte`, which must be next.
    #[inline]
    pub(crate) fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    #[inline]
    pub(crate) fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Makes sure that nothing follows.
    pub(crate) fn end(&mut self) -> Option<()> {
        self.skip_space();
        (self.at == self.bytes.len()).then_some(())
    }

    /// Passes the key that is next, its colon, and the spaces around that.
    #[inline]
    pub(crate) fn key(&mut self) -> Option<Passed> {
        let key = self.string()?;
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Some(key)
    }

    /// Passes the value that is next and lies `depth` deep.
    #[inline]
    pub(crate) fn skip_value(&mut self, depth: u32) -> Option<Kind> {
        match self.peek()? {
            b'{' | b'[' => self.nested(depth).map(|()| Kind::Json),
            _ => self.scalar(),
        }
    }

    #[inline]
    fn scalar(&mut self) -> Option<Kind> {
        match self.peek()? {
            b'"' => {
                let is_escaped = self.string()?.is_escaped;
                Some(if is_escaped { Kind::EscapedText } else { Kind::Text })
            }
            b't' => self.word(b"true", Kind::True),
            b'f' => self.word(b"false", Kind::False),
            b'n' => self.word(b"null", Kind::Null),
            _ => self.number().map(|()| Kind::Number),
        }
    }

    /// Passes an array or an object, whose first byte is next, without a stack of calls.
    fn nested(&mut self, depth: u32) -> Option<()> {
        // A bit for each that is open, the innermost last: 1 for an object.
        let mut open: u128 = 0;
        let mut level = 0;
        loop {
            let is_object = self.peek()? == b'{';
            self.at += 1;
            level += 1;
            if depth + level > DEPTH_MAX {
                return None;
            }
            open = open << 1 | u128::from(is_object);
            self.skip_space();
            if self.peek()? == closing(open) {
                self.at += 1;
                open >>= 1;
                level -= 1;
                if !self.go_on(&mut open, &mut level)? {
                    return Some(());
                }
            }
            if !self.members(&mut open, &mut level)? {
                return Some(());
            }
        }
    }

    /// Passes members up to one that is nested in itself; answers whether anything is open.
    #[inline]
    fn members(&mut self, open: &mut u128, level: &mut u32) -> Option<bool> {
        loop {
            if *open & 1 == 1 {
                self.key()?;
            }
            if matches!(self.peek()?, b'{' | b'[') {
                return Some(true);
            }
            self.scalar()?;
            if !self.go_on(open, level)? {
                return Some(false);
            }
        }
    }

    /// Passes what follows a value up to the next one; answers whether anything is open.
    #[inline]
    fn go_on(&mut self, open: &mut u128, level: &mut u32) -> Option<bool> {
        while *level > 0 {
            self.skip_space();
            let next = self.peek()?;
            self.at += 1;
            if next == b',' {
                self.skip_space();
                return Some(true);
            }
            if next != closing(*open) {
                return None;
            }
            *open >>= 1;
            *level -= 1;
        }
        Some(false)
    }

    #[inline]
    fn word(&mut self, word: &[u8], kind: Kind) -> Option<Kind> {
        let is_word = self.bytes[self.at..].starts_with(word);
        self.at += word.len();
        is_word.then_some(kind)
    }

    /// Passes the string that is next.
    #[inline]
    pub(crate) fn string(&mut self) -> Option<Passed> {
        self.expect(b'"')?;
        let start = self.at;
        let mut is_escaped = false;
        loop {
            self.skip_plain();
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(Passed { start, end: self.at - 1, is_escaped });
                }
                b'\\' => {
                    is_escaped = true;
                    self.escape()?;
                }
                _ => return None,
            }
        }
    }

    /// Passes what means nothing in a string, eight bytes at a time.
    #[inline]
    fn skip_plain(&mut self) {
        while let Some(chunk) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let special = special(u64::from_le_bytes(*chunk));
            if special != 0 {
                self.at += special.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while self.peek().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Option<()> {
        let kind = *self.bytes.get(self.at + 1)?;
        self.at += 2;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.bytes.get(self.at..self.at + 4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.skip_digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let before = self.at;
        self.skip_digits();
        (self.at > before).then_some(())
    }

    #[inline]
    fn skip_digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }
}

#[inline]
fn closing(open: u128) -> u8 {
    if open & 1 == 1 { b'}' } else { b']' }
}

/// The high bits of the bytes that mean something in a string: quotes, backslashes, controls.
///
/// Bits above the lowest one may be wrong, for subtracting borrows from them.
#[inline]
fn special(chunk: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let below = |chunk: u64, least: u8| chunk.wrapping_sub(ONES * u64::from(least)) & !chunk;
    let quote = below(chunk ^ (ONES * u64::from(b'"')), 1);
    let backslash = below(chunk ^ (ONES * u64::from(b'\\')), 1);
    (quote | backslash | below(chunk, 0x20)) & HIGH
}
