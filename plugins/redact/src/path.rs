//! Paths of fields, and how far the place that is being read has come along each.

/// How many fields the daemon finds for a plugin.
const FIELDS_MAX: usize = 64;
/// How many parts the path of one may have.
const DEPTH_MAX: usize = 32;
/// How long the path of one may be, in bytes.
const LEN_MAX: usize = 512;

/// A path as the config gives it, such as `items.*.email`.
#[derive(Debug)]
pub(crate) struct Path(Vec<Segment>);

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    /// One key, or the number of an element.
    Name(String),
    /// `*`: any key or element.
    Any,
    /// `**`: any number of them.
    Deep,
}

/// How many segments of one path lead to the place that is being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    path: usize,
    done: usize,
}

impl Path {
    /// # Errors
    /// If no value can be at this path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let segments = text.split('.').map(|segment| match segment {
            "" => Err(format!("`fields`: `{text}` has an empty part; write it as in `user.email`")),
            "*" => Ok(Segment::Any),
            "**" => Ok(Segment::Deep),
            name => Ok(Segment::Name(name.to_owned())),
        });
        let segments: Vec<Segment> = segments.collect::<Result<_, _>>()?;
        if segments.last() == Some(&Segment::Deep) {
            return Err(format!("`fields`: `{text}` ends in `**`, so it names no field"));
        }
        Ok(Self(segments))
    }

    fn written(&self) -> String {
        let quoted = self.0.iter().map(|segment| match segment {
            Segment::Name(name) => format!("[{}]", serde_json::Value::from(name.as_str())),
            Segment::Any | Segment::Deep => unreachable!("only plain paths are written"),
        });
        format!("${}", quoted.collect::<String>())
    }
}

/// The paths as the daemon's contract writes them, without those that lie inside of others.
///
/// `None` if the daemon cannot find them: a wildcard, or a number, which is a key or an index.
pub(crate) fn plain(paths: &[Path]) -> Option<Vec<String>> {
    let is_name = |segment: &Segment| match segment {
        Segment::Name(name) => !name.bytes().all(|byte| byte.is_ascii_digit()),
        Segment::Any | Segment::Deep => false,
    };
    let is_plain = |path: &Path| path.0.len() <= DEPTH_MAX && path.0.iter().all(is_name);
    if paths.len() >= FIELDS_MAX || !paths.iter().all(is_plain) {
        return None;
    }
    let is_outer = |path: &&Path| {
        let around = |other: &Path| path.0.len() > other.0.len() && path.0.starts_with(&other.0);
        !paths.iter().any(around)
    };
    let written: Vec<String> = paths.iter().filter(is_outer).map(Path::written).collect();
    written.iter().all(|path| path.len() <= LEN_MAX).then_some(written)
}

impl Progress {
    /// The beginning of all paths.
    pub(crate) fn start(paths: &[Path]) -> Vec<Self> {
        (0..paths.len()).map(|path| Self { path, done: 0 }).collect()
    }

    /// Goes on to the child `name`: its progress is appended to `next`.
    ///
    /// Returns whether the child is at the end of a path.
    pub(crate) fn step(self, paths: &[Path], name: &str, next: &mut Vec<Self>) -> bool {
        let Self { path, mut done } = self;
        let segments = &paths[path].0;
        while segments[done] == Segment::Deep {
            next.push(Self { path, done });
            done += 1;
        }
        let fits = match &segments[done] {
            Segment::Name(wanted) => wanted == name,
            Segment::Any | Segment::Deep => true,
        };
        if fits && done + 1 < segments.len() {
            next.push(Self { path, done: done + 1 });
        }
        fits && done + 1 == segments.len()
    }
}
