//! What plugins ask of servers elsewhere: whom they may ask, for how long, and what it costs others.
//!
//! The plugin is `tests/guests/fetcher`, which sends what the data of an event says and answers in
//! place of the event. The server is a real one in this process.

use std::fs;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::HeaderMap;
use axum::response::Redirect;
use axum::routing::{any, get};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use weir_harness::{Subscriber, Weir, artifacts};

/// A server that counts how often it is asked.
struct Server {
    address: SocketAddr,
    hits: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Server {
    async fn start() -> Self {
        let hits = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let hit = || {
            let hits = Arc::clone(&hits);
            move || hits.fetch_add(1, Ordering::SeqCst) + 1
        };
        let (hello, fresh, secret) = (hit(), hit(), hit());
        let echo = async |headers: HeaderMap, body: String| {
            let known = headers.get("x-key").and_then(|value| value.to_str().ok());
            let agent = headers.get("user-agent").and_then(|value| value.to_str().ok());
            let agent = agent.and_then(|agent| agent.split('/').next());
            format!("{} {} {body}", known.unwrap_or("-"), agent.unwrap_or("-"))
        };
        let router = Router::new()
            .route("/hello", get(async move || format!("hello {}", hello())))
            .route("/echo", any(echo))
            .route("/away", get(async || Redirect::temporary("/hello")))
            .route("/never", get(async || pending::<()>().await))
            .route("/large", get(async || "x".repeat(2 << 20)))
            .route(
                "/fresh",
                get(async move || ([("cache-control", "max-age=60")], format!("{}", fresh()))),
            )
            .route(
                "/secret",
                get(async move || {
                    ([("cache-control", "max-age=60, no-store")], format!("{}", secret()))
                }),
            );
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // It ends with the test.
            axum::serve(listener, router).await.ok();
        });
        Self { address, hits, _serving: serving }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

fn pipeline(grants: &[String], limits: &str) -> String {
    format!(
        "[[source]]\ntype = \"http\"\npath = \"/in\"\n\n\
         [[transform]]\nplugin = \"fetcher\"\ngrants = {grants:?}\nlimits = {{ {limits} }}\n\n\
         [[sink]]\ntype = \"broadcast\"\nhub = \"main\"\nchannel = \"said\"\n"
    )
}

async fn start(pipeline: &str) -> Weir {
    let fetcher = fs::read(artifacts::guests().join("fetcher.wasm")).expect("the guests are built");
    let setup = Weir::with(pipeline).settings("[hub.main]").own_plugins();
    let other = "[[source]]\ntype = \"http\"\npath = \"/other\"\n\n\
                 [[sink]]\ntype = \"broadcast\"\nhub = \"main\"\nchannel = \"other\"\n";
    setup.pipeline("other", other).file("plugins/fetcher.wasm", fetcher).start().await
}

/// What the plugin answers.
async fn ask(weir: &Weir, page: &mut Subscriber, question: &str) -> String {
    weir.publish("/in", &json!(question).to_string()).await.accepted();
    let frame = page.frame("event").await;
    frame["event"]["data"].as_str().unwrap_or_else(|| panic!("{frame}")).to_owned()
}

async fn requests(weir: &Weir, result: &str) -> f64 {
    let labels = [("pipeline", "test"), ("step", "fetcher"), ("result", result)];
    weir.metric("weir_plugin_http_requests_total", &labels).await
}

#[tokio::test]
async fn a_plugin_asks_only_whom_its_step_names() {
    let server = Server::start().await;
    let port = server.address.port();
    let grants = [
        format!("http:http://{}", server.address),
        // Written otherwise, this machine again: what a name means is looked at, not how it looks.
        format!("http:http://127.1:{port}"),
    ];
    let weir = start(&pipeline(&grants, "http = \"20s\", time = \"5s\"")).await;
    let mut page = weir.subscribe("main", &["said"]).await;
    let mut says = async |question: String| ask(&weir, &mut page, &question).await;
    assert_eq!(says(format!("GET {}", server.url("/hello"))).await, "200 hello 1");
    let posted = format!("POST {} header x-key k body text", server.url("/echo"));
    assert_eq!(says(posted).await, "200 k weir text");
    assert_eq!(says(format!("GET {}", server.url("/away"))).await, "307 ");
    assert_eq!(says(format!("GET {}", server.url("/none"))).await, "404 ");
    for denied in [
        format!("http://127.1:{port}/hello"),
        format!("http://localhost:{port}/hello"),
        format!("https://{}/hello", server.address),
        format!("http://127.0.0.1:{}/hello", port - 1),
        format!("http://user@{}/hello", server.address),
        "http://10.0.0.5/".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://example.com/".to_owned(),
        "ftp://127.0.0.1/hello".to_owned(),
        "/hello".to_owned(),
    ] {
        assert_eq!(says(format!("GET {denied}")).await, "Error::Denied", "{denied}");
    }
    for header in ["host evil", "content-length 7", "transfer-encoding chunked", "proxy-x y"] {
        let question = format!("GET {} header {header}", server.url("/hello"));
        assert_eq!(says(question).await, "Error::Denied", "{header}");
    }
    assert_eq!(says(format!("CONNECT {}", server.url("/"))).await, "Error::Denied");
    assert_eq!(server.hits(), 1);
    assert_eq!((requests(&weir, "ok").await, requests(&weir, "denied").await), (4.0, 15.0));
    weir.stop().await.clean();
}

#[tokio::test]
async fn localhost_is_this_machine_where_it_is_named() {
    let server = Server::start().await;
    let grants = [format!("http:http://localhost:{}", server.address.port())];
    let weir = start(&pipeline(&grants, "http = \"20s\"")).await;
    let mut page = weir.subscribe("main", &["said"]).await;
    let asked = format!("GET http://localhost:{}/hello", server.address.port());
    assert_eq!(ask(&weir, &mut page, &asked).await, "200 hello 1");
    let asked = format!("GET {}", server.url("/hello"));
    assert_eq!(ask(&weir, &mut page, &asked).await, "Error::Denied");
    weir.stop().await.clean();
}

#[tokio::test]
async fn a_server_that_never_answers_costs_the_budget_and_nobody_else() {
    let server = Server::start().await;
    let grants = [format!("http:http://{}", server.address)];
    // The time of the call itself is far shorter than what the requests may take.
    let weir = start(&pipeline(&grants, "http = \"600ms\", time = \"20ms\"")).await;
    let mut page = weir.subscribe("main", &["said"]).await;
    let mut others = weir.subscribe("main", &["other"]).await;
    let slow = format!("GET {} times 3", server.url("/never"));
    let waiting = ask(&weir, &mut page, &slow);
    let meanwhile = async {
        for n in 0..20 {
            let body = json!({ "n": n }).to_string();
            weir.publish("/other", &body).await.accepted();
            others.expect(&body).await;
        }
    };
    let (said, ()) = tokio::join!(waiting, meanwhile);
    assert_eq!(said, "Error::Timeout, Error::BudgetExhausted");
    // What it waits is not its own time; what it works afterwards is.
    let short = format!("GET {} ms 100 spin", server.url("/never"));
    let reply = weir.publish("/in", &json!(short).to_string()).await;
    reply.refused(422, "rejected");
    let runs = [("step", "fetcher"), ("reason", "timeout")];
    weir.metric_reaches("weir_transform_failed_runs_total", &runs, 1.0).await;
    let hello = format!("GET {}", server.url("/hello"));
    assert_eq!(ask(&weir, &mut page, &hello).await, "200 hello 1");
    assert_eq!(requests(&weir, "timeout").await, 2.0);
    assert_eq!(requests(&weir, "budget_exhausted").await, 2.0);
    let labels = [("pipeline", "test"), ("step", "fetcher")];
    assert_eq!(weir.metric("weir_plugin_http_seconds_count", &labels).await, 3.0);
    weir.stop().await.clean();
}

#[tokio::test]
async fn requests_and_answers_are_bounded() {
    let server = Server::start().await;
    let grants = [format!("http:http://{}", server.address)];
    let limits = "http = \"20s\", time = \"5s\", http_body = \"64KiB\"";
    let weir = start(&pipeline(&grants, limits)).await;
    let mut page = weir.subscribe("main", &["said"]).await;
    let mut says = async |question: String| ask(&weir, &mut page, &question).await;
    assert_eq!(says(format!("GET {}", server.url("/large"))).await, "Error::TooLarge");
    let body = "x".repeat(65 << 10);
    let posted = format!("POST {} body {body}", server.url("/echo"));
    assert_eq!(says(posted).await, "Error::TooLarge");
    let header = "x".repeat(17 << 10);
    let posted = format!("GET {} header x-key {header}", server.url("/echo"));
    assert_eq!(says(posted).await, "Error::TooLarge");
    assert_eq!(server.hits(), 0);
    // One event may ask 18 times.
    let often = format!("GET {} times 19", server.url("/echo"));
    assert_eq!(says(often).await, "200 - weir , Error::BudgetExhausted");
    assert_eq!(requests(&weir, "ok").await, 18.0);
    weir.stop().await.clean();
}

#[tokio::test]
async fn an_answer_is_given_again_for_as_long_as_its_server_says() {
    let server = Server::start().await;
    let grants = [format!("http:http://{}", server.address)];
    let pipeline = pipeline(&grants, "http = \"20s\", time = \"5s\"");
    let weir = start(&pipeline).await;
    let mut page = weir.subscribe("main", &["said"]).await;
    let mut says = async |question: String| ask(&weir, &mut page, &question).await;
    // More often than requests could be sent.
    let fresh = format!("GET {}", server.url("/fresh"));
    assert_eq!(says(format!("{fresh} times 100")).await, "200 1");
    let own = format!("{fresh} header x-key other");
    assert_eq!(says(own).await, "200 2", "another header is another question");
    assert_eq!(says(format!("GET {} times 2", server.url("/secret"))).await, "200 3, 200 4");
    weir.edit("pipelines/test.toml", format!("description = \"changed\"\n{pipeline}"));
    assert_eq!(weir.reload().await.status(), 200);
    assert_eq!(says(fresh).await, "200 1");
    assert_eq!((requests(&weir, "ok").await, requests(&weir, "cached").await), (4.0, 100.0));
    weir.stop().await.clean();
}
