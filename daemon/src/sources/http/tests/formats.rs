//! Every spelling of events that the contract lists, and who wins where attributes conflict.

use super::Site;

const JSON: &str = "content-type: application/json\r\n";
const LINES: &str = "content-type: application/x-ndjson\r\n";
const STRUCTURED: &str = "content-type: application/cloudevents+json\r\n";
const BATCH: &str = "content-type: application/cloudevents-batch+json\r\n";
const CLOUDEVENT: &str = r#"{"specversion":"1.0","id":"7","source":"/shop","type":"cart.add",
    "subject":"s1","time":"2026-01-02T03:04:05.678Z","tenant":"acme","level":3,
    "data":{"a": [1,  2]}}"#;

type Seen = (String, String, String, Option<String>, Option<String>, String);

/// id, source, type, subject, content type, data of everything taken.
fn seen(site: &Site) -> Vec<Seen> {
    site.taken(|event| {
        (
            event.id().to_owned(),
            event.source().to_owned(),
            event.event_type().to_owned(),
            event.subject().map(str::to_owned),
            event.content_type().map(str::to_owned),
            String::from_utf8_lossy(event.data()).into_owned(),
        )
    })
}

fn event(id: &str, source: &str, kind: &str, subject: Option<&str>, data: &str) -> Seen {
    let own = str::to_owned;
    let json = Some(own("application/json"));
    (own(id), own(source), own(kind), subject.map(own), json, own(data))
}

#[tokio::test]
async fn an_object_is_one_event_whose_bytes_are_kept() {
    let site = Site::new("").await;
    let reply = site.post(JSON, "  {\"a\" : 1.50,\"b\":\"\\u00e9\"}\n").await;
    let (id, ..) = seen(&site)[0].clone();
    assert_eq!(id.len(), 26);
    assert_eq!(seen(&site), [event(&id, "/in", "event", None, r#"{"a" : 1.50,"b":"\u00e9"}"#)]);
    reply.is(200, &format!(r#"{{"id":"{id}","status":"delivered"}}"#));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), None);
}

#[tokio::test]
async fn arrays_scalars_and_beacons_are_data_too() {
    let site = Site::new("").await;
    for (headers, body) in [
        (JSON, "[1,2]"),
        (JSON, "null"),
        ("content-type: text/plain;charset=UTF-8\r\n", "{}"),
        ("", "7"),
    ] {
        assert_eq!(site.post(headers, body).await.status, 200);
    }
    let data: Vec<_> = seen(&site).into_iter().map(|seen| (seen.4.unwrap(), seen.5)).collect();
    let json = |data: &str| ("application/json".to_owned(), data.to_owned());
    assert_eq!(data, [json("[1,2]"), json("null"), json("{}"), json("7")]);
}

#[tokio::test]
async fn an_object_with_specversion_is_a_cloudevent() {
    let site = Site::new("").await;
    for headers in [JSON, STRUCTURED, "content-type: text/plain\r\n"] {
        let reply = site.post(headers, CLOUDEVENT).await;
        reply.is(200, r#"{"id":"7","status":"delivered"}"#);
    }
    let expected = event("7", "/shop", "cart.add", Some("s1"), r#"{"a": [1,  2]}"#);
    assert_eq!(seen(&site), [expected.clone(), expected.clone(), expected]);
    let others = site.taken(|event| {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        (event.time(), event.extensions().map(own).collect::<Vec<_>>())
    });
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        others[0],
        (1_767_323_045_678_000, vec![pair("tenant", "acme"), pair("level", "3")])
    );
}

#[tokio::test]
async fn a_cloudevent_without_what_it_needs_is_refused() {
    let site = Site::new("").await;
    let faults = [
        (r#"{"specversion":"1.0","id":"1","source":"/s"}"#, "`type` is missing"),
        (r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#, "0.3"),
        (r#"{"specversion":"1.0","id":7,"source":"/s","type":"t"}"#, "`id` is a string"),
        (r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#, "`id` is 1 to"),
        (r#"{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"}"#, "twice"),
        (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","Bad":"x"}"#, "`Bad`"),
        (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","x":{}}"#, "`x`"),
        (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"noon"}"#, "`time`"),
        (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"*"}"#, "base64"),
    ];
    for (body, word) in faults {
        let reply = site.post(JSON, body).await;
        reply.is_problem(400, "bad_request");
        assert!(reply.body.contains(word), "{word}: {}", reply.body);
    }
    assert_eq!(site.balance().received, 0);
}

#[tokio::test]
async fn data_of_other_types_comes_out_of_its_wrapping() {
    let site = Site::new("").await;
    let attributes = r#""specversion":"1.0","id":"1","source":"/s","type":"t""#;
    for rest in [
        r#""datacontenttype":"text/xml","data":"<a b=\"c\"/>""#,
        r#""datacontenttype":"image/png","data_base64":"/wAB""#,
        r#""data":"text""#,
        r#""data":null"#,
    ] {
        assert_eq!(site.post(STRUCTURED, format!("{{{attributes},{rest}}}")).await.status, 200);
    }
    let data =
        site.taken(|event| (event.content_type().unwrap().to_owned(), event.data().to_vec()));
    let pair = |kind: &str, data: &[u8]| (kind.to_owned(), data.to_vec());
    let expected = [
        pair("text/xml", br#"<a b="c"/>"#),
        pair("image/png", &[255, 0, 1]),
        pair("application/json", br#""text""#),
        pair("application/json", b"null"),
    ];
    assert_eq!(data, expected);
}

#[tokio::test]
async fn each_line_stands_alone() {
    let site = Site::new("").await;
    let body = b"{\"a\":1}\r\n\n{\"a\":\n{\"specversion\":\"1.0\",\"id\":\"x\",\"source\":\"/s\",\"type\":\"t\"}\n{\"specversion\":\"1.0\",\"id\":\"y\"}\n\xff\n3";
    let reply = site.post(LINES, body).await;
    assert_eq!(reply.status, 207);
    let results: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    let results = results["results"].as_array().unwrap();
    let told: Vec<_> = results
        .iter()
        .map(|result| (result["status"].as_str().unwrap(), result["code"].as_str()))
        .collect();
    let (good, bad) = (("delivered", None), ("rejected", Some("bad_request")));
    assert_eq!(told, [good, bad, good, bad, bad, good]);
    assert_eq!(results[2]["id"], "x");
    assert_eq!(results[3]["id"], "y");
    assert!(results[1]["message"].as_str().unwrap().contains("column 5"), "{}", reply.body);
    assert_eq!(site.balance().delivered, 3);
}

#[tokio::test]
async fn a_batch_of_cloudevents_is_an_array() {
    let site = Site::new("").await;
    let reply = site.post(BATCH, format!("[{CLOUDEVENT},{{}},{CLOUDEVENT}]")).await;
    assert_eq!(reply.status, 207);
    assert_eq!(site.balance().delivered, 2);
    site.post(BATCH, "[]").await.is(200, r#"{"results":[]}"#);
    site.post(BATCH, CLOUDEVENT).await.is_problem(400, "bad_request");
    site.post(BATCH, format!("[{CLOUDEVENT}] []")).await.is_problem(400, "bad_request");
    let deep = format!("[{CLOUDEVENT},{}{}]", "[".repeat(200), "]".repeat(200));
    assert_eq!(site.post(BATCH, deep).await.status, 207);
    let list = format!("[{CLOUDEVENT},{CLOUDEVENT}]");
    assert_eq!(site.post_to("/in?format=cloudevents", "", list).await.status, 200);
    assert_eq!(site.balance().delivered, 5);
}

#[tokio::test]
async fn a_whole_cloudevent_lacks_on_purpose_what_it_lacks() {
    let site = Site::new(r#"attributes = { subject = "s", tenant = "acme" }"#).await;
    let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}"#;
    assert_eq!(site.post_to("/in?subject=q", "ce-tenant: other\r\n", body).await.status, 200);
    assert_eq!(seen(&site), [event("1", "/s", "t", None, "1")]);
    assert_eq!(site.taken(|event| event.extensions().count()), [0]);
}

#[tokio::test]
async fn binary_cloudevents_have_their_attributes_in_headers() {
    let site = Site::new("").await;
    let headers = "ce-specversion: 1.0\r\nce-id: 9\r\nce-source: /shop\r\nce-type: cart.add\r\n\
                   ce-subject: caf%C3%A9%20100%\r\nce-time: 2026-01-02T03:04:05Z\r\nce-tenant: acme\r\n";
    let json = format!("{headers}{JSON}");
    let plain = format!("{headers}content-type: text/plain\r\n");
    assert_eq!(site.post(&json, r#"{"specversion":"not mine"}"#).await.status, 200);
    assert_eq!(site.post(&plain, "hello").await.status, 200);
    assert_eq!(site.post(headers, "").await.status, 200);
    site.post(&json, "{").await.is_problem(400, "bad_request");
    site.post("ce-specversion: 2.0\r\n", "{}").await.is_problem(400, "bad_request");
    let subject = Some("café 100%");
    let mut expected = [
        event("9", "/shop", "cart.add", subject, r#"{"specversion":"not mine"}"#),
        event("9", "/shop", "cart.add", subject, "hello"),
        event("9", "/shop", "cart.add", subject, ""),
    ];
    expected[1].4 = Some("text/plain".to_owned());
    expected[2].4 = None;
    assert_eq!(seen(&site), expected);
    let tenants = site.taken(|event| event.extension("tenant").map(str::to_owned));
    assert!(tenants.iter().all(|tenant| tenant.as_deref() == Some("acme")));
}

#[tokio::test]
async fn other_types_are_opaque_data() {
    let site = Site::new("").await;
    assert_eq!(site.post("content-type: image/png\r\n", b"\x89PNG").await.status, 200);
    let special = "content-type: application/vnd.shop+json\r\n";
    assert_eq!(site.post(special, "{}").await.status, 200);
    site.post(special, "{").await.is_problem(400, "bad_request");
    site.post("content-type: nonsense\r\n", "{}").await.is_problem(415, "unsupported");
    let avro = "content-type: application/cloudevents+avro\r\n";
    site.post(avro, "x").await.is_problem(415, "unsupported");
    let types = site.taken(|event| event.content_type().unwrap().to_owned());
    assert_eq!(types, ["image/png", "application/vnd.shop+json"]);
}

#[tokio::test]
async fn our_own_client_posts_an_envelope() {
    let site = Site::new("").await;
    let body = r#"{"sent":1764000000000,"events":[
        {"id":"a","type":"cart.add","subject":"s","time":1764000000123,"data":{"n":1}},
        {"data":2,"channel":"orders"},
        {"id":"c","time":"soon"},
        7]}"#;
    let reply = site.post_to("/in?format=weir", "content-type: text/plain\r\n", body).await;
    assert_eq!(reply.status, 207, "{}", reply.body);
    let taken = site.taken(|event| {
        let channel = event.extension("channel").map(str::to_owned);
        (event.event_type().to_owned(), event.time(), channel)
    });
    assert_eq!(taken[0], ("cart.add".to_owned(), 1_764_000_000_123_000, None));
    assert_eq!((taken[1].0.as_str(), taken[1].2.as_deref()), ("event", Some("orders")));
    assert_eq!(taken.len(), 2);
    site.post_to("/in?format=weir", "", "{}").await.is_problem(400, "bad_request");
    site.post_to("/in?format=weir", "", "{\"events\":[1,]}").await.is_problem(400, "bad_request");
    site.post_to("/in?format=weir", "", "{\"events\":7}").await.is_problem(400, "bad_request");
    site.post_to("/in?format=xml", "", "{}").await.is_problem(415, "unsupported");
}

#[tokio::test]
async fn the_query_says_what_a_page_cannot() {
    let site = Site::new("").await;
    let body = r#"{"specversion":"mine"}"#;
    let reply = site.post_to("/in?format=data&type=cart.add&subject=a%20b", "", body).await;
    assert_eq!(reply.status, 200);
    let structured = site.post_to("/in?format=cloudevents", "", CLOUDEVENT).await;
    structured.is(200, r#"{"id":"7","status":"delivered"}"#);
    let (id, ..) = seen(&site)[0].clone();
    assert_eq!(seen(&site)[0], event(&id, "/in", "cart.add", Some("a b"), body));
}

#[tokio::test]
async fn headers_win_over_the_query_the_query_over_templates_templates_over_defaults() {
    let attributes = r#"attributes = { type = "{{data.kind}}", subject = "u.{{data.user}}", tenant = "{{data.org}}" }"#;
    let site = Site::new(attributes).await;
    let body = r#"{"kind":"click","user":"ann","org":"acme"}"#;
    for (target, headers) in [
        ("/in?type=from.query", "ce-type: from.header\r\n"),
        ("/in?type=from.query", ""),
        ("/in", ""),
    ] {
        assert_eq!(site.post_to(target, headers, body).await.status, 200);
    }
    assert_eq!(site.post("", r#"{"kind":7}"#).await.status, 200);
    assert_eq!(site.post("", "{}").await.status, 200);
    assert_eq!(site.post(LINES, "{\"kind\":\"a\"}\n{\"kind\":\"b\"}").await.status, 200);
    let types: Vec<_> = seen(&site).into_iter().map(|seen| (seen.2, seen.3)).collect();
    let pair = |kind: &str, subject: Option<&str>| (kind.to_owned(), subject.map(str::to_owned));
    let ann = Some("u.ann");
    let expected = [
        pair("from.header", ann),
        pair("from.query", ann),
        pair("click", ann),
        pair("7", None),
        pair("event", None),
        pair("a", None),
        pair("b", None),
    ];
    assert_eq!(types, expected);
    assert_eq!(
        site.taken(|event| event.extension("tenant").is_some())[..4],
        [true, true, true, false]
    );
}
