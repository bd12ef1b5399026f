//! A RabbitMQ broker of a test's own, beside whatever else runs on the machine.
//!
//! It has its own node, ports, cookie and data, and a guardian that ends it when the test
//! process is gone, however that came about. Where the package is missing a test says loudly
//! that it was skipped; in CI it fails.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, fs};

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::directory::Directory;
use crate::wait::within;

const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";

/// Booting takes ten seconds of an idle machine.
const BOOT_DEADLINE: Duration = Duration::from_secs(60);

/// Ends the broker and its port mapper once the test process no longer holds the pipe.
const GUARDIAN: &str = r#"
read -r _
kill -s KILL -- "-$(cat "$1/group")" "-$(cat "$1/mapper")"
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"#;

/// RabbitMQ is not installed.
#[derive(Debug)]
pub struct Missing;

impl Missing {
    /// Says that the calling test is skipped.
    ///
    /// # Panics
    /// In CI, where nothing may be skipped.
    pub fn skip(&self) {
        let message = "RabbitMQ is not installed; `make rabbitmq` installs it";
        assert!(env::var_os("CI").is_none(), "{message}");
        // The test runner hides what a passing test prints; this goes past it.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: {message}").ok();
    }
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    directory: PathBuf,
    name: String,
    port: u16,
    distribution_port: u16,
    mapper_port: u16,
    /// Its stdin is the pipe that keeps the broker alive.
    _guardian: Child,
    /// Knows the broker's port for `rabbitmqctl`.
    _mapper: Child,
}

impl Broker {
    /// Starts one.
    ///
    /// # Errors
    /// If RabbitMQ is not installed.
    pub async fn private() -> Result<Self, Missing> {
        if !Path::new(SCRIPTS).join("rabbitmq-server").exists() {
            return Err(Missing);
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // The guardian removes it, after the broker has stopped writing to it.
        let fresh = Directory::fresh();
        let directory = fresh.path().to_owned();
        std::mem::forget(fresh);
        fs::write(directory.join("plugins"), "[].\n").expect("a directory of our own");
        fs::write(directory.join("rabbitmq.conf"), "log.console = false\n")
            .expect("a directory of our own");
        let [port, distribution_port, mapper_port] = free_ports();
        let mapper = Command::new("epmd")
            .current_dir(&directory)
            .args(["-address", "127.0.0.1", "-port", &mapper_port.to_string()])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Erlang's port mapper comes with RabbitMQ");
        fs::write(directory.join("mapper"), mapper.id().to_string()).expect("our own directory");
        fs::write(directory.join("group"), mapper.id().to_string()).expect("our own directory");
        let guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "guardian"])
            .arg(&directory)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell can be started");
        let broker = Self {
            name: format!("weir-{}-{number}@localhost", std::process::id()),
            directory,
            port,
            distribution_port,
            mapper_port,
            _guardian: guardian,
            _mapper: mapper,
        };
        broker.start().await;
        Ok(broker)
    }

    /// Where it is, for the virtual host `vhost`.
    pub fn url(&self, vhost: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", self.port)
    }

    /// Where it listens, on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts the broker again after it was killed.
    pub async fn start(&self) {
        let log = self.directory.join("output");
        let output = fs::File::create(&log).expect("our own directory");
        let child = self
            .command("rabbitmq-server")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .spawn()
            .expect("the package is installed");
        fs::write(self.directory.join("group"), child.id().to_string()).expect("our own directory");
        let is_up =
            || fs::read_to_string(&log).is_ok_and(|output| output.contains("completed with"));
        let deadline = Instant::now() + BOOT_DEADLINE;
        while !is_up() {
            assert!(Instant::now() < deadline, "the broker does not boot");
            sleep(Duration::from_millis(50)).await;
        }
        // The child is reaped when it ends, whoever ends it.
        std::thread::spawn(move || {
            let mut child = child;
            child.wait().ok();
        });
    }

    /// Ends the broker on the spot, as a crash does.
    pub fn kill9(&self) {
        self.signal("KILL");
    }

    /// Kills the broker and starts it again.
    pub async fn restart(&self) {
        self.kill9();
        self.start().await;
    }

    /// Makes the broker write to disk which queues it has: it knows a quorum queue again after a
    /// crash only from some seconds after it was declared.
    pub async fn remember(&self) {
        self.rabbitmqctl(&["eval", "[dets:sync(Table) || Table <- dets:all()]."]).await;
    }

    /// Stops every thread of the broker; its sockets stay open and nobody answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen broker go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Stops the broker in an orderly way; it answers nobody until `start_app`.
    pub async fn stop_app(&self) {
        self.rabbitmqctl(&["stop_app"]).await;
    }

    /// Starts what `stop_app` stopped.
    pub async fn start_app(&self) {
        self.rabbitmqctl(&["start_app"]).await;
    }

    /// Makes the broker believe that it is out of memory, or not any more.
    pub async fn set_memory_alarm(&self, is_on: bool) {
        let arguments: &[&str] = if is_on {
            &["set_vm_memory_high_watermark", "absolute", "1MiB"]
        } else {
            &["set_vm_memory_high_watermark", "0.4"]
        };
        self.rabbitmqctl(arguments).await;
    }

    /// Runs `rabbitmqctl` and returns what it printed.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> String {
        let mut command = self.command("rabbitmqctl");
        command.arg("-q").args(["-n", &self.name]).args(arguments);
        let output = spawn_blocking(move || command.output()).await.expect("no panic");
        let output = output.expect("the package is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {text}{errors}");
        text
    }

    /// An empty virtual host called `name`, and a connection to it.
    pub async fn vhost(&self, name: &str) -> Vhost {
        let make = format!(
            "rabbit_vhost:add(<<\"{name}\">>, <<\"test\">>), \
             rabbit_auth_backend_internal:set_permissions(<<\"guest\">>, <<\"{name}\">>, \
             <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>)."
        );
        self.rabbitmqctl(&["eval", &make]).await;
        Vhost::connect(self.url(name)).await
    }

    fn signal(&self, name: &str) {
        let group = fs::read_to_string(self.directory.join("group")).expect("it was started");
        let kill = format!("kill -s {name} -- -{group}");
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell starts");
        assert!(status.success(), "{kill}");
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(Path::new(SCRIPTS).join(script));
        let inside = |name: &str| self.directory.join(name);
        command
            .current_dir(&self.directory)
            .env("HOME", &self.directory)
            .env("LANG", "C.UTF-8")
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.mapper_port.to_string())
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", inside("data"))
            .env("RABBITMQ_LOG_BASE", inside("log"))
            .env("RABBITMQ_CONFIG_FILE", inside("rabbitmq"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", inside("plugins"))
            .env("RABBITMQ_PID_FILE", inside("pid"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            );
        command
    }
}

/// A virtual host, seen through a connection of the test's own.
#[derive(Debug)]
pub struct Vhost {
    /// Where it is.
    pub url: String,
    connection: Connection,
    /// For whatever the test wants to ask of the broker.
    pub amqp_channel: Channel,
}

/// A message taken from a queue.
#[derive(Debug)]
pub struct Taken {
    /// The routing key it was published with.
    pub routing_key: String,
    /// Its properties.
    pub properties: BasicProperties,
    /// Its body.
    pub data: Vec<u8>,
}

impl Taken {
    fn of(delivery: Delivery) -> Self {
        Self {
            routing_key: delivery.routing_key.to_string(),
            properties: delivery.properties,
            data: delivery.data,
        }
    }

    /// The publisher's id.
    pub fn id(&self) -> &str {
        self.properties.message_id().as_ref().map_or("", |id| id.as_str())
    }

    /// The header `name` as text.
    pub fn header(&self, name: &str) -> Option<String> {
        match self.properties.headers().as_ref()?.inner().get(name)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            AMQPValue::LongLongInt(number) => Some(number.to_string()),
            other => Some(format!("{other:?}")),
        }
    }
}

impl Vhost {
    /// A connection to the virtual host that `url` names.
    pub async fn connect(url: String) -> Self {
        let connecting = Connection::connect(&url, ConnectionProperties::default());
        let connection = within("a connection", connecting).await.expect("the broker is up");
        let amqp_channel = connection.create_channel().await.expect("a channel");
        let options = ConfirmSelectOptions::default();
        amqp_channel.confirm_select(options).await.expect("a channel confirms");
        Self { url, connection, amqp_channel }
    }

    /// A connection anew, after the broker was away.
    pub async fn again(&self) -> Self {
        drop(self.connection.close(200, "OK".into()).await);
        Self::connect(self.url.clone()).await
    }

    /// Declares a durable queue with `arguments`.
    pub async fn declare_queue(&self, name: &str, arguments: &[(&str, AMQPValue)]) {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.amqp_channel.queue_declare(name.into(), options, table).await.expect("a queue");
    }

    /// How many messages of `queue` wait for a consumer.
    pub async fn waiting(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let looked = self.amqp_channel.queue_declare(queue.into(), options, FieldTable::default());
        looked.await.expect("the queue exists").message_count()
    }

    /// Whether there is a queue of this name.
    pub async fn exists(&self, queue: &str) -> bool {
        // A channel of its own: asking for a queue that is missing ends the channel.
        let asking = self.connection.create_channel().await.expect("a channel");
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        asking.queue_declare(queue.into(), options, FieldTable::default()).await.is_ok()
    }

    /// Takes every message out of `queue`, and sees it empty.
    pub async fn drain(&self, queue: &str) -> Vec<Taken> {
        let mut taken = Vec::new();
        let none = FieldTable::default;
        loop {
            let waiting = self.waiting(queue).await;
            if waiting == 0 {
                // A quorum queue too busy to answer counts as 0; asking for a message tells.
                let asked = self.amqp_channel.basic_get(queue.into(), BasicGetOptions::default());
                let Some(message) = asked.await.expect("the queue exists") else { return taken };
                let delivery = message.delivery;
                let acked = delivery.acker.ack(BasicAckOptions::default()).await;
                acked.expect("the channel is open");
                taken.push(Taken::of(delivery));
                continue;
            }
            let reader = self.connection.create_channel().await.expect("a channel");
            let prefetch = u16::try_from(waiting).unwrap_or(u16::MAX);
            let limited = reader.basic_qos(prefetch, BasicQosOptions::default()).await;
            limited.expect("the channel is open");
            let options = BasicConsumeOptions::default();
            let consuming = reader.basic_consume(queue.into(), "".into(), options, none()).await;
            let mut consumer = consuming.expect("the queue exists");
            let mut last = None;
            for _ in 0..prefetch {
                let next = within("a message", consumer.next()).await;
                let delivery = next.expect("the consumer lives").expect("the channel is open");
                last = Some(delivery.acker.clone());
                taken.push(Taken::of(delivery));
            }
            let acker = last.expect("something was waiting");
            acker.ack(BasicAckOptions { multiple: true }).await.expect("the channel is open");
            reader.close(200, "OK".into()).await.expect("the channel is open");
        }
    }
}

/// Ports that nobody uses. They stay free long enough: the system hands out others meanwhile.
fn free_ports<const N: usize>() -> [u16; N] {
    let bound = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    bound.map(|listener| listener.local_addr().expect("it is bound").port())
}
