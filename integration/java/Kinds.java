import io.sentry.Attachment;
import io.sentry.CheckIn;
import io.sentry.CheckInStatus;
import io.sentry.ISpan;
import io.sentry.ITransaction;
import io.sentry.MonitorConfig;
import io.sentry.MonitorSchedule;
import io.sentry.Sentry;
import io.sentry.TransactionOptions;
import io.sentry.protocol.Feedback;
import io.sentry.protocol.SentryId;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/**
 * Sends each kind of item that the Sentry SDK for Java knows, one in an envelope where the SDK
 * allows it, and prints the ids. The DSN comes in HOPTRACE_DSN.
 */
public final class Kinds {
  private static final Map<String, String> EVENTS = new LinkedHashMap<>();

  private Kinds() {}

  static class Declined extends RuntimeException {
    Declined(int order) {
      super("card of order " + order + " declined");
    }
  }

  private static void charge(int order) {
    throw new Declined(order);
  }

  private static Throwable caught(Runnable work) {
    try {
      work.run();
    } catch (RuntimeException e) {
      return e;
    }
    throw new AssertionError("the work should have failed");
  }

  private static void event(String what, Supplier<SentryId> capture) {
    try (var ignored = Sentry.pushScope()) {
      Sentry.configureScope(scope -> scope.setTag("case", what));
      EVENTS.put(what, capture.get().toString());
    }
    Sentry.flush(20_000);
  }

  private static MonitorConfig schedule() {
    MonitorConfig config = new MonitorConfig(MonitorSchedule.crontab("*/5 * * * *"));
    config.setCheckinMargin(2L);
    config.setMaxRuntime(10L);
    config.setTimezone("UTC");
    return config;
  }

  /** Sends all and prints what it sent. */
  public static void main(String[] args) throws Exception {
    Sentry.init(
        options -> {
          options.setDsn(System.getenv("HOPTRACE_DSN"));
          options.setRelease("shop@2.0.0");
          options.setServerName("web-1");
          options.setEnvironment("integration");
          options.setTracesSampleRate(1.0);
          options.getLogs().setEnabled(true);
          options.setEnableAutoSessionTracking(false);
        });
    String sdk = Sentry.getCurrentScopes().getOptions().getSdkVersion().getVersion();
    TransactionOptions bound = new TransactionOptions();
    bound.setBindToScope(true);
    ITransaction transaction = Sentry.startTransaction("pay", "queue.process", bound);
    String trace = transaction.getSpanContext().getTraceId().toString();
    String span = transaction.getSpanContext().getSpanId().toString();
    event("error", () -> Sentry.captureException(caught(() -> charge(17))));
    ISpan child = transaction.startChild("db.query", "SELECT 1");
    Thread.sleep(2);
    child.finish();
    Sentry.logger().warn("order %d is late", 17);
    Sentry.flush(20_000);
    transaction.finish();
    Sentry.flush(20_000);
    Sentry.metrics().count("orders", 3.0);
    Sentry.flush(20_000);

    event("chained", () -> {
      RuntimeException bank = new IllegalStateException("bank said no", caught(() -> charge(18)));
      return Sentry.captureException(new RuntimeException("cannot pay", bank));
    });
    event("message", () -> Sentry.captureMessage("stock is low"));
    event("attachment", () -> {
      byte[] cart = "{\"lines\":3}".getBytes(StandardCharsets.UTF_8);
      Sentry.configureScope(scope -> scope.addAttachment(new Attachment(cart, "cart.json", "application/json")));
      return Sentry.captureException(new IllegalArgumentException("cart is broken"));
    });
    CheckIn checkIn = new CheckIn("close-day-java", CheckInStatus.IN_PROGRESS);
    checkIn.setMonitorConfig(schedule());
    SentryId id = Sentry.captureCheckIn(checkIn);
    Sentry.flush(20_000);
    CheckIn done = new CheckIn(id, "close-day-java", CheckInStatus.OK);
    done.setDuration(1.0);
    Sentry.captureCheckIn(done);
    Sentry.flush(20_000);
    Feedback feedback = new Feedback("the button does nothing");
    feedback.setName("Ada");
    feedback.setContactEmail("ada@example.com");
    feedback.setAssociatedEventId(new SentryId(EVENTS.get("error")));
    String feedbackId = Sentry.feedback().capture(feedback).toString();
    Sentry.flush(20_000);
    Sentry.startSession();
    Sentry.flush(20_000);
    Sentry.endSession();
    Sentry.flush(20_000);

    String limited = System.getenv("HOPTRACE_LIMITED");
    if (limited != null && !limited.isEmpty()) {
      // The first is refused, the second the SDK drops and reports with what it sends next.
      for (int i = 0; i < 2; i++) {
        int n = i;
        event(limited, () -> Sentry.captureException(new RuntimeException("too many: " + n)));
      }
      Sentry.captureCheckIn(new CheckIn("close-day-java", CheckInStatus.OK));
      Sentry.flush(20_000);
    }
    Sentry.close();
    String events =
        EVENTS.entrySet().stream()
            .map(e -> '"' + e.getKey() + "\":\"" + e.getValue() + '"')
            .collect(Collectors.joining(","));
    System.out.printf(
        "{\"sdk\":\"sentry.java/%s\",\"events\":{%s},\"trace\":\"%s\",\"span\":\"%s\",\"checkIn\":\"%s\",\"feedback\":\"%s\"}%n",
        sdk, events, trace, span, id, feedbackId);
  }
}
