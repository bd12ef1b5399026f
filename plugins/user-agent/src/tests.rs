//! What is told from the texts of real browsers.

use weir_plugin::Plugin;
use weir_plugin::testing::{Harness, Judged, event};

use crate::UserAgent;
use crate::agent::Agent;

/// Browser, version, system, its version, device; `-` for what is not known.
fn told(text: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(&Agent::of(text).to_json()).unwrap();
    assert_eq!(json["bot"], json["device"] == "bot", "{text}");
    let parts = ["browser", "version", "system", "systemVersion", "device"];
    parts.map(|part| json[part].as_str().unwrap_or("-").to_owned()).join(" ")
}

#[test]
fn browsers_are_known() {
    for (text, expected) in [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            "Chrome 126 Windows 10 desktop",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36 Edg/125.0.2535.92",
            "Edge 125 Windows 10 desktop",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4.1 Safari/605.1.15",
            "Safari 17 macOS 10.15.7 desktop",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1",
            "Safari 17 iOS 17.4 mobile",
        ),
        (
            "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/120.0.6099.119 Mobile/15E148 Safari/604.1",
            "Chrome 120 iOS 16.6 tablet",
        ),
        (
            "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
            "Samsung Internet 25 Android 14 mobile",
        ),
        (
            "Mozilla/5.0 (Linux; Android 13; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            "Chrome 126 Android 13 tablet",
        ),
        (
            "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
            "Firefox 127 Linux - desktop",
        ),
        (
            "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            "Chrome 126 Chrome OS - desktop",
        ),
        (
            "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
            "Internet Explorer 11 Windows 7 desktop",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 OPR/110.0.0.0",
            "Opera 110 Windows 10 desktop",
        ),
        (
            "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/87.0.4280.88 Safari/537.36 WebAppManager",
            "Chrome 87 webOS - tv",
        ),
        (
            "Mozilla/5.0 (PlayStation; PlayStation 5/6.50) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15",
            "Safari 13 PlayStation - console",
        ),
    ] {
        assert_eq!(told(text), expected, "{text}");
    }
}

#[test]
fn tools_and_crawlers_are_bots() {
    for (text, expected) in [
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Googlebot 2 - - bot",
        ),
        ("curl/8.5.0", "curl 8 - - bot"),
        ("python-requests/2.31.0", "python-requests 2 - - bot"),
        ("Go-http-client/1.1", "Go-http-client 1 - - bot"),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0 Safari/537.36",
            "HeadlessChrome 120 Linux - bot",
        ),
        ("Mozilla/5.0 (compatible; é-MyCrawler; x)", "-MyCrawler - - - bot"),
    ] {
        assert_eq!(told(text), expected, "{text}");
    }
}

#[test]
fn any_text_has_an_answer() {
    for text in ["", "x", "é", "\"}\\\u{1}", "bot", "/bot/", "Chrome/", "Android ", "iPhone OS _"]
    {
        told(text);
    }
    told(&"ü".repeat(10_000));
    told(&format!("curl/{}", "9".repeat(2_000)));
    told(&"bot".repeat(2_000));
}

#[test]
fn the_answer_is_set_and_what_has_no_text_passes() {
    let mut agent = Harness::<UserAgent>::new(r#"{"from":"ua"}"#).unwrap();
    let judged = agent.judge(event().data(r#"{"ua":"curl/8.5.0"}"#));
    let expected =
        r#"{"ua":"curl/8.5.0","agent":{"browser":"curl","version":"8","device":"bot","bot":true}}"#;
    assert_eq!(judged.texts(), [expected]);
    for data in ["{}", r#"{"ua":7}"#, "no JSON"] {
        assert_eq!(agent.judge(event().data(data)), Judged::Keep, "{data}");
    }
}

#[test]
fn a_config_that_makes_no_sense_is_refused() {
    let refused = |config: &str| Harness::<UserAgent>::new(config).unwrap_err();
    assert!(refused("{}").contains("missing field `from`"));
    assert!(refused(r#"{"from":"a","to":"b..c"}"#).starts_with("`to`: "));
}

#[test]
fn the_schema_is_json() {
    let schema: serde_json::Value = serde_json::from_str(UserAgent::SCHEMA.unwrap()).unwrap();
    assert_eq!(schema["properties"].as_object().unwrap().len(), 2);
}
