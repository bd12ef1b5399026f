// Takes events over HTTP, broadcasts them to socket.io rooms, and, where AMQP_URL is set,
// answers only when the broker has confirmed them.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";

import amqp from "amqplib";
import express from "express";
import { Server } from "socket.io";

const QUEUE = process.env.AMQP_QUEUE ?? "events";

const app = express();
app.use(express.json({ limit: "1mb" }));
const http = createServer(app);
const io = new Server(http);

io.on("connection", (socket) => {
  socket.on("join", (room, done) => {
    socket.join(room);
    done("ok");
  });
});

const broker = process.env.AMQP_URL ? await connect(process.env.AMQP_URL) : null;

app.post("/in", async (request, response) => {
  const type = request.query.type ?? "event";
  const bodies = Array.isArray(request.body) ? request.body : [request.body];
  const events = bodies.map((data) => ({ id: randomUUID(), type, time: Date.now(), data }));
  for (const event of events) io.to(type).emit("event", event);
  if (broker) await Promise.all(events.map(confirmed));
  response.json({ results: events.map(({ id }) => ({ id, status: "delivered" })) });
});

http.listen(0, "127.0.0.1", () => console.log(`listening 127.0.0.1:${http.address().port}`));

async function connect(url) {
  const connection = await amqp.connect(url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(QUEUE, { durable: true, arguments: { "x-queue-type": "quorum" } });
  return channel;
}

function confirmed(event) {
  const content = Buffer.from(JSON.stringify(event));
  const options = { persistent: true, mandatory: true, messageId: event.id };
  return new Promise((resolve, reject) => {
    broker.publish("", QUEUE, content, options, (error) => (error ? reject(error) : resolve()));
  });
}
