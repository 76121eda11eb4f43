// What the programs sentry.mjs and otel.mjs share: sends each of HOPTRACE_ORDERS
// (order,order) in a trace of its own to the topic HOPTRACE_SEND, then reads
// HOPTRACE_READ (topic=records,topic=records) and returns what it saw there.
export async function relay({ kafkajs, clientId, inSpan, activeSpan }) {
  const { Kafka, logLevel } = kafkajs;
  const kafka = new Kafka({ clientId, brokers: [need("HOPTRACE_KAFKA")], logLevel: logLevel.ERROR });
  const topic = need("HOPTRACE_SEND");
  const expected = new Map(need("HOPTRACE_READ").split(",").map((part) => part.split("=")));

  const sent = [];
  const producer = kafka.producer();
  await producer.connect();
  for (const order of need("HOPTRACE_ORDERS").split(",")) {
    await inSpan("checkout", async (span) => {
      sent.push({ order, ...span });
      await producer.send({ topic, messages: [{ key: order, value: order }] });
    });
  }
  await producer.disconnect();

  const read = [];
  let left = [...expected.values()].reduce((sum, n) => sum + Number(n), 0);
  const consumer = kafka.consumer({ groupId: clientId });
  await consumer.connect();
  await consumer.subscribe({ topics: [...expected.keys()], fromBeginning: true });
  let late;
  try {
    await new Promise((resolve, reject) => {
      late = setTimeout(() => reject(new Error(`${left} records are missing after 60 s; read ${JSON.stringify(read)}`)), 60_000);
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
      consumer
        .run({
          eachMessage: async ({ topic, message }) => {
            const headers = Object.fromEntries(Object.entries(message.headers ?? {}).map(([k, v]) => [k, String(v)]));
            read.push({ topic, order: String(message.value), headers, ...activeSpan() });
            if (--left === 0) {
              resolve();
            }
          },
        })
        .catch(reject);
    });
  } finally {
    clearTimeout(late);
    await consumer.disconnect();
  }
  return { sent, read };
}

/** The value of an environment variable that must be set. */
export function need(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`set ${name}; interop_test.go says to what`);
  }
  return value;
}
