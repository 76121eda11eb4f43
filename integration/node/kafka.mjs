// Produces to and consumes from the broker in HOPTRACE_KAFKA by kafkajs, in a
// group, and prints what it did.
import { createRequire } from "node:module";
import kafkajs from "kafkajs";

const require = createRequire(import.meta.url);
const { version } = require("kafkajs/package.json");
const { Kafka, logLevel } = kafkajs;

const broker = process.env.HOPTRACE_KAFKA;
if (!broker) {
  throw new Error("set HOPTRACE_KAFKA to the address of a broker");
}
const kafka = new Kafka({ clientId: "kafkajs-test", brokers: [broker], logLevel: logLevel.ERROR });
const topic = "kafkajs-own";
const total = 600;

const admin = kafka.admin();
await admin.connect();
await admin.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true });
await admin.disconnect();

const producer = kafka.producer();
await producer.connect();
for (let from = 0; from < total; from += 100) {
  const messages = [];
  for (let n = from; n < from + 100; n++) {
    messages.push({ key: `key-${n}`, value: `value-${n}`, headers: { n: String(n) } });
  }
  await producer.send({ topic, messages });
}
await producer.disconnect();

const seen = new Map();
let consumed = 0;
let headers = 0;
const consumer = kafka.consumer({ groupId: "kafkajs-readers" });
await consumer.connect();
await consumer.subscribe({ topics: [topic], fromBeginning: true });
await new Promise((resolve, reject) => {
  const late = setTimeout(() => reject(new Error(`consumed ${consumed} of ${total} in 60 s`)), 60_000);
  consumer
    .run({
      eachMessage: async ({ message }) => {
        consumed++;
        const value = message.value.toString();
        seen.set(value, (seen.get(value) ?? 0) + 1);
        if (`value-${message.headers.n}` === value) {
          headers++;
        }
        if (consumed === total) {
          clearTimeout(late);
          resolve();
        }
      },
    })
    .catch(reject);
});
await consumer.disconnect();
console.log(JSON.stringify({ version, produced: total, consumed, distinct: seen.size, headers }));
