//! Every event reaches its channel or is refused, and is settled either way.

use std::path::Path;
use std::sync::Arc;

use super::{Broadcast, Config};
use crate::ack::{Account, AckMode, Answer, Code, Limits, Outcome, Receipt};
use crate::component::{BuildContext, ComponentId, Host, PipelineName, Sink};
use crate::edge::{Capacity, Delivery, edge};
use crate::event::{Batch, Draft};
use crate::live::{HubSettings, Hubs, Next, Pattern, Start, Subscription};
use crate::template::Template;

fn host() -> Arc<Host> {
    let hubs = Hubs::new(Path::new(""), [("main".to_owned(), HubSettings::default())]);
    Arc::new(Host { hubs, ..Host::default() })
}

fn build(host: &Arc<Host>, config: Config) -> Result<Broadcast, crate::component::BuildError> {
    let id = ComponentId::new(&PipelineName::new("p").unwrap(), "live").unwrap();
    Broadcast::build(config, &BuildContext::for_sink(&id, host))
}

fn config(channel: &str) -> Config {
    Config { channel: Some(Template::compile(channel).unwrap()), ..Config::default() }
}

async fn deliver(sink: Broadcast, drafts: &[Draft<'_>]) -> Receipt {
    let mut batch = Batch::default();
    for draft in drafts {
        batch.push(draft);
    }
    let account = Arc::new(Account::new(Limits::default()));
    let sizes = vec![1; batch.len()];
    let (receipt, acks) = account.admit(sizes.into_iter(), AckMode::Routed).unwrap();
    let (sender, inlet) = edge(Capacity { events: 10, bytes: 1_000 });
    sender.send(Delivery { batch: Arc::new(batch), acks, entry: 0 }).unwrap();
    sender.close();
    sink.run(inlet).await.unwrap();
    assert_eq!(account.balance().in_flight, 0);
    receipt
}

async fn channels(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut channels = Vec::new();
    while channels.len() < count {
        let Next::Burst(None, pieces) = subscription.next(1_000).await else { panic!("a gap") };
        for (_, line) in pieces.iter().flat_map(|piece| piece.lines()) {
            let frame: serde_json::Value = serde_json::from_slice(line).unwrap();
            channels.push(frame["channel"].as_str().unwrap().to_owned());
        }
    }
    channels
}

fn follow(host: &Arc<Host>) -> Subscription {
    let mut subscription = Subscription::new(host.hubs.get("main").unwrap());
    subscription.join(&[Pattern::new("**").unwrap()], Start::Live).unwrap();
    subscription
}

#[tokio::test]
async fn an_event_without_a_channel_fails_alone() {
    let host = host();
    let mut subscription = follow(&host);
    let sink = build(&host, config("shop.{{data.kind}}")).unwrap();
    let draft = |data| Draft { id: "1", source: "/", event_type: "t", data, ..Draft::default() };
    let drafts = [draft(br#"{"kind":"a"}"#), draft(b"{}"), draft(br#"{"kind":"b"}"#)];
    let receipt = deliver(sink, &drafts).await;
    let answers = receipt.answers();
    assert_eq!(answers[0], Answer::Settled(Outcome::Delivered, None));
    assert_eq!(answers[1].code(), Some(Code::Rejected));
    assert_eq!(answers[2], Answer::Settled(Outcome::Delivered, None));
    assert_eq!(channels(&mut subscription, 2).await, ["shop.a", "shop.b"]);
}

#[tokio::test]
async fn without_a_template_the_event_names_its_channel() {
    let host = host();
    let mut subscription = follow(&host);
    let sink = build(&host, Config::default()).unwrap();
    let typed = Draft { id: "1", source: "/", event_type: "cart.add", ..Draft::default() };
    let named = Draft { extensions: &[("channel", "mine")], ..typed };
    let odd = Draft { event_type: "not a channel", ..typed };
    let receipt = deliver(sink, &[typed, named, odd]).await;
    assert_eq!(receipt.answers()[2].code(), Some(Code::Rejected));
    assert_eq!(channels(&mut subscription, 2).await, ["cart.add", "mine"]);
}

#[test]
fn a_bad_setting_is_a_fault() {
    let host = host();
    let unknown = build(&host, Config { hub: "nowhere".to_owned(), ..Config::default() });
    assert_eq!(unknown.unwrap_err().code, "W0301");
    assert_eq!(build(&host, config("a b")).unwrap_err().code, "W0202");
}
