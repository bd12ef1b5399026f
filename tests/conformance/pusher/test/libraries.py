"""The python libraries `pusher` and `pysher` against the daemon that the arguments name.

Prints one line per thing that holds, and fails at the first that does not.
"""

import json
import sys
import threading
import time

import pusher
import pysher

HOST, PORT, APP_ID, KEY, SECRET = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]
PATIENCE = 15

server = pusher.Pusher(app_id=APP_ID, key=KEY, secret=SECRET, host=HOST, port=PORT, ssl=False)


class Seen:
    """What came of one event."""

    def __init__(self):
        self.data = []
        self.came = threading.Event()

    def __call__(self, data=None, *_):
        self.data.append(data)
        self.came.set()

    def wait(self):
        assert self.came.wait(PATIENCE), "nothing came in time"
        return self.data[-1]


def connect(**options):
    """A client that is connected."""
    client = pysher.Pusher(KEY, secret=SECRET, secure=False, custom_host=HOST, port=PORT, **options)
    connected = Seen()
    client.connection.bind("pusher:connection_established", connected)
    client.connect()
    connected.wait()
    return client


def subscribe(client, name, count=1):
    """A channel that is subscribed to, with so many connections then. `pysher` knows the channel
    only after it has sent its wish, and may miss the answer: so the server is asked."""
    channel = client.subscribe(name)
    end = time.monotonic() + PATIENCE
    while server.channel_info(name, ["subscription_count"])["subscription_count"] < count:
        assert time.monotonic() < end, f"nobody is on {name}"
        time.sleep(0.01)
    return channel


def holds(what):
    print(what, flush=True)


client = connect(user_data={"user_id": "ada", "user_info": {"name": "Ada"}})
for name in ["public", "private-a"]:
    channel = subscribe(client, name)
    event = Seen()
    channel.bind("greet", event)
    assert server.trigger(name, "greet", {"text": "ü"}) == {}
    assert json.loads(event.wait()) == {"text": "ü"}, event.data
holds("pysher gets what pusher publishes on a public and a private channel")

channel = subscribe(client, "presence-room")
added, removed = Seen(), Seen()
channel.bind("pusher_internal:member_added", added)
channel.bind("pusher_internal:member_removed", removed)
other = connect(user_data={"user_id": "bob"})
subscribe(other, "presence-room", 2)
assert json.loads(added.wait())["user_id"] == "bob"
holds("pysher is told who comes")

assert server.trigger_batch([{"channel": "public", "name": "a", "data": "1"}]) == {}
holds("pusher publishes a batch")

assert server.channels_info() == {"channels": {"public": {}, "private-a": {}, "presence-room": {}}}
assert server.channels_info("presence-", ["user_count"]) == {
    "channels": {"presence-room": {"user_count": 2}}
}
info = server.channel_info("presence-room", ["user_count", "subscription_count"])
assert info == {"occupied": True, "user_count": 2, "subscription_count": 2}, info
users = server.users_info("presence-room")
assert users == {"users": [{"id": "ada"}, {"id": "bob"}]}, users
assert server.channel_info("a@b,c;d=e.f") == {"occupied": False}
holds("pusher asks about channels and users, with its digest of no body")

assert server.terminate_user_connections("nobody") == {}
holds("pusher ends a user's connections on its own path")

try:
    server.trigger("public", "large", "x" * 20_000)
    raise AssertionError("20,000 bytes were taken")
except pusher.errors.PusherBadStatus as error:
    assert "413" in str(error) or "10240" in str(error), error
holds("pusher is told 413 for what is too large")

try:
    pusher.Pusher(APP_ID, KEY, "other", host=HOST, port=PORT, ssl=False).trigger("public", "e", {})
    raise AssertionError("a foreign secret was taken")
except pusher.errors.PusherBadAuth:
    pass
holds("pusher is told 401 for another secret")

other.disconnect(timeout=1)
assert json.loads(removed.wait()) == {"user_id": "bob"}
holds("pysher is told who goes")
client.disconnect(timeout=1)
