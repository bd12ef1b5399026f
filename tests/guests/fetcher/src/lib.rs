//! A plugin that sends what requests the data of each event says: words such as `GET http://…`.
//!
//! It answers in place of the event, a JSON string: statuses and bodies, or why there are none. A
//! config asks in `configure`. `spin` after the requests then never ends, `N times` repeats them.

wit_bindgen::generate!({
    inline: "
        package tests:fetcher;
        world fetcher {
            include weir:plugin/plugin@1.0.0;
            import weir:plugin/http@1.0.0;
        }
    ",
    path: "../../../sdk/wit",
    generate_all,
});

use exports::weir::plugin::{lifecycle, transform};
use weir::plugin::http::{Error, Request, send};
use weir::plugin::types::{Batch, Needs, Outcome, Rows, Step, Verdict};

struct Fetcher;

export!(Fetcher);

impl lifecycle::Guest for Fetcher {
    fn configure(config: String, _: Step) -> Result<Needs, String> {
        let question = config.trim_matches(['"', '{', '}']);
        if !question.is_empty() {
            return Err(fetch(question));
        }
        Ok(Needs { fields: vec!["$".to_owned()], data: false })
    }

    fn schema() -> Option<String> {
        None
    }
}

impl transform::Guest for Fetcher {
    fn process(input: Batch) -> Result<Outcome, String> {
        let column = &input.fields[0];
        let (mut data, mut data_ends) = (Vec::new(), Vec::new());
        let mut start = 0;
        for end in &column.ends {
            let question = &column.values[start..*end as usize];
            start = *end as usize;
            data.extend(format!("{:?}", fetch(question)).bytes());
            data_ends.push(data.len() as u32);
        }
        let emitted = Rows {
            origins: (0..data_ends.len() as u32).collect(),
            data_ends,
            data,
            dictionary_ends: Vec::new(),
            dictionary: String::new(),
            types: Vec::new(),
            subjects: Vec::new(),
            content_types: Vec::new(),
            routes: Vec::new(),
            extensions: None,
        };
        let verdicts = vec![Verdict::Emit; emitted.origins.len()];
        Ok(Outcome { verdicts, patches: None, emitted: Some(emitted), failures: Vec::new() })
    }
}

/// `METHOD URL [header NAME VALUE] [body TEXT] [ms NUMBER] [times NUMBER] [spin]`
fn fetch(question: &str) -> String {
    let words: Vec<&str> = question.split(' ').collect();
    let after = |word: &str, place: usize| {
        let found = words.iter().position(|known| *known == word);
        found.and_then(|at| words.get(at + place)).copied()
    };
    let number = |word| after(word, 1).and_then(|number| number.parse().ok());
    let header = after("header", 1).zip(after("header", 2));
    let request = Request {
        method: words[0].to_owned(),
        url: words.get(1).copied().unwrap_or_default().to_owned(),
        headers: header.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect(),
        body: after("body", 1).map(|body| body.into()),
        timeout_ms: number("ms").unwrap_or(0),
    };
    let mut said: Vec<String> = Vec::new();
    for _ in 0..number("times").unwrap_or(1) {
        let answer = match send(&request) {
            Ok(response) if response.body.len() > 100 => {
                format!("{} {} bytes", response.status, response.body.len())
            }
            Ok(response) => {
                format!("{} {}", response.status, String::from_utf8_lossy(&response.body))
            }
            Err(Error::Transport(why)) => format!("transport: {why}"),
            Err(error) => format!("{error:?}"),
        };
        // The last answers are as good as all.
        said.retain(|known| *known != answer);
        said.push(answer);
    }
    while words.contains(&"spin") {}
    said.join(", ")
}
