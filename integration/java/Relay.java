import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Scope;
import io.opentelemetry.context.propagation.ContextPropagators;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.instrumentation.kafkaclients.v2_6.KafkaTelemetry;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A shop on Java's Kafka client under OpenTelemetry's library instrumentation, as its users set it
 * up. It sends each of HOPTRACE_ORDERS (order,order) in a trace of its own to the topic
 * HOPTRACE_SEND, then reads HOPTRACE_READ (topic=records,topic=records), and prints what it sent
 * and saw.
 */
public final class Relay {
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  public static void main(String[] args) throws Exception {
    String service = need("HOPTRACE_SERVICE");
    SdkTracerProvider provider =
        SdkTracerProvider.builder()
            .setResource(Resource.getDefault().toBuilder().put(AttributeKey.stringKey("service.name"), service).build())
            .addSpanProcessor(
                BatchSpanProcessor.builder(
                        OtlpHttpSpanExporter.builder().setEndpoint(need("HOPTRACE_OTLP") + "/v1/traces").build())
                    .build())
            .build();
    OpenTelemetry otel =
        OpenTelemetrySdk.builder()
            .setTracerProvider(provider)
            .setPropagators(ContextPropagators.create(W3CTraceContextPropagator.getInstance()))
            .build();
    KafkaTelemetry kafka = KafkaTelemetry.create(otel);
    List<String> sent = send(otel, kafka);
    List<String> read = read(kafka, service);
    provider.shutdown().join(20, TimeUnit.SECONDS);
    System.out.println(
        "{\"sent\":" + sent + ",\"read\":" + read + ",\"parts\":["
            + quote("kafka-clients " + org.apache.kafka.common.utils.AppInfoParser.getVersion()) + ","
            + quote("opentelemetry-kafka-clients-2.6 " + jar("opentelemetry-kafka-clients-2.6-")) + ","
            + quote("java " + System.getProperty("java.version")) + "]}");
    // The exporter's HTTP client keeps threads for a minute.
    System.exit(0);
  }

  private static List<String> send(OpenTelemetry otel, KafkaTelemetry kafka) throws Exception {
    List<String> sent = new ArrayList<>();
    Map<String, Object> config = Map.of("bootstrap.servers", need("HOPTRACE_KAFKA"), "linger.ms", "0");
    try (Producer<String, String> producer =
        kafka.wrap(new KafkaProducer<>(config, new StringSerializer(), new StringSerializer()))) {
      for (String order : need("HOPTRACE_ORDERS").split(",")) {
        Span span = otel.getTracer("shop").spanBuilder("checkout").startSpan();
        try (Scope ignored = span.makeCurrent()) {
          producer.send(new ProducerRecord<>(need("HOPTRACE_SEND"), order, order)).get();
          sent.add("{\"order\":" + quote(order) + ids() + "}");
        } finally {
          span.end();
        }
      }
    }
    return sent;
  }

  private static List<String> read(KafkaTelemetry kafka, String service) {
    Map<String, Integer> expected = new LinkedHashMap<>();
    int left = 0;
    for (String part : need("HOPTRACE_READ").split(",")) {
      String[] pair = part.split("=");
      expected.put(pair[0], Integer.parseInt(pair[1]));
      left += Integer.parseInt(pair[1]);
    }
    List<String> read = new ArrayList<>();
    Map<String, Object> config =
        Map.of("bootstrap.servers", need("HOPTRACE_KAFKA"), "group.id", service, "auto.offset.reset", "earliest");
    Instant late = Instant.now().plus(PATIENCE);
    try (Consumer<String, String> consumer =
        kafka.wrap(new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer()))) {
      consumer.subscribe(expected.keySet());
      while (left > 0) {
        if (Instant.now().isAfter(late)) {
          throw new IllegalStateException(left + " records are missing after " + PATIENCE + "; read " + read);
        }
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
          List<String> headers = new ArrayList<>();
          for (Header h : record.headers()) {
            headers.add(quote(h.key()) + ":" + quote(new String(h.value(), StandardCharsets.UTF_8)));
          }
          read.add(
              "{\"topic\":" + quote(record.topic()) + ",\"order\":" + quote(record.value())
                  + ",\"headers\":{" + String.join(",", headers) + "}" + ids() + "}");
          left--;
        }
      }
    }
    return read;
  }

  /** The ids of the current span as JSON fields, nothing without one. */
  private static String ids() {
    SpanContext context = Span.current().getSpanContext();
    if (!context.isValid()) {
      return "";
    }
    return ",\"traceId\":" + quote(context.getTraceId()) + ",\"spanId\":" + quote(context.getSpanId());
  }

  private static String quote(String s) {
    return "\"" + s.replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
  }

  /** The version of a jar on the class path, by its file name. */
  private static String jar(String prefix) {
    for (String path : System.getProperty("java.class.path").split(":")) {
      String name = path.substring(path.lastIndexOf('/') + 1);
      if (name.startsWith(prefix)) {
        return name.substring(prefix.length()).replace(".jar", "");
      }
    }
    return "of unknown version";
  }

  private static String need(String name) {
    String value = System.getenv(name);
    if (value == null || value.isEmpty()) {
      throw new IllegalStateException("set " + name + "; interop_test.go says to what");
    }
    return value;
  }
}
