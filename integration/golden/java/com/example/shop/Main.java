package com.example.shop;

import io.sentry.Sentry;
import io.sentry.SentryEvent;
import io.sentry.SentryLevel;
import io.sentry.protocol.Message;
import io.sentry.protocol.User;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.net.Socket;
import java.time.LocalDate;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * A shop that fails in many ways under the Sentry SDK for Java. Each case reports one event, whose
 * tag "case" names it: what stands before an @ is the issue, what stands behind it is how this event
 * differs from the others.
 */
public final class Main {
  private interface Work {
    void run() throws Throwable;
  }

  private static final Map<String, Work> CASES = new LinkedHashMap<>();
  private static final String VARIANT = Optional.ofNullable(System.getenv("GOLDEN_VARIANT")).orElse("");

  private Main() {}

  /** A case that throws; its error is reported as a handler does it. */
  private static void fails(String name, Work work) {
    CASES.put(
        name,
        () -> {
          try {
            work.run();
          } catch (Throwable e) {
            Sentry.captureException(e);
            return;
          }
          throw new AssertionError("case " + name + " did not fail");
        });
  }

  /** A case that reports by itself. */
  private static void reports(String name, Work work) {
    CASES.put(name, work);
  }

  private static void chains() {
    for (int order : new int[] {17, 4711}) {
      String other = order == 17 ? "" : "@other-order";
      fails("declined" + other, () -> Shop.charge(order));
      fails("declined-two-lines" + other, () -> Shop.chargeTwoLines(order));
      fails("cause-one" + other, () -> Shop.refund(order));
    }
    fails("cause-two", () -> Shop.checkout(17));
    fails("suppressed", Shop::suppressed);
    fails("checked", () -> Shop.reserve("sku-17"));
    fails("future", Shop::future);
    fails("error-cause-only", () -> {
      throw new Error(new InterruptedException("stop"));
    });
  }

  private static void runtime() {
    fails("null-pointer", () -> Shop.length(null));
    fails("null-unboxing", () -> Shop.total(List.of(new Shop.Line("a", null))));
    for (int n : new int[] {5, 6}) {
      fails("array-index" + (n == 5 ? "" : "@other-index"), () -> Shop.shelf(n));
    }
    fails("list-index", () -> List.of(1, 2).get(2));
    fails("string-index", () -> "abc".substring(5));
    fails("divide", () -> Shop.share(10, 0));
    fails("class-cast", () -> Shop.cast("ten"));
    for (String text : new String[] {"4x", "seventeen"}) {
      fails("number-format" + (text.equals("4x") ? "" : "@other-text"), () -> Integer.parseInt(text));
    }
    fails("enum", () -> Shop.State.valueOf("LOST"));
    fails("date", () -> LocalDate.parse("2026-13-01"));
    fails("optional", () -> Optional.empty().orElseThrow());
    fails("deque", () -> new ArrayDeque<Integer>().removeFirst());
    fails("concurrent-modification", Shop::modify);
    fails("immutable", () -> List.of(1).add(2));
    fails("tree-map-key", () -> new TreeMap<Object, Object>().put(new Object(), 1));
    fails("assertion", () -> {
      throw new AssertionError("sums differ");
    });
    fails("recursion", () -> Shop.recurse(20));
    fails("stack-overflow", () -> Shop.overflow(0));
    fails("class-initialiser", Shop::initialise);
    fails("class-missing", () -> Class.forName("com.example.shop.Missing"));
    for (String day : new String[] {"23", "24"}) {
      fails("file-missing" + (day.equals("23") ? "" : "@other-day"), () -> Shop.read("/srv/prices/2026-11-" + day + ".csv"));
    }
    fails("connection-refused", () -> new Socket("127.0.0.1", 1).close());
    fails("timeout", () -> {
      throw new TimeoutException("no answer within 30 s");
    });
  }

  private static void shapes() {
    fails("lambda", () -> Shop.apply((String s) -> s.trim().charAt(9), " a "));
    fails("method-reference", () -> Shop.apply(Integer::valueOf, "none"));
    fails("stream", () -> Arrays.asList(1, 0).stream().map(n -> 1 / n).toList());
    fails("compute-lambda", () -> Shop.price(new LinkedHashMap<>(), "sku-9"));
    fails("anonymous-class", Shop::anonymous);
    fails("inner-class", Shop::inner);
    fails("reflection", () -> Shop.class.getDeclaredMethod("charge", int.class).invoke(null, 17));
    for (String order : new String[] {"o-1", "o-2"}) {
      fails("proxy" + (order.equals("o-1") ? "" : "@other-order"), () -> proxy().ship(order));
    }
    fails("proxy-checked", () -> checkedProxy().ship("o-1"));
    fails("local-class", () -> {
      class Local implements Callable<Integer> {
        @Override
        public Integer call() {
          throw new IllegalStateException("local");
        }
      }
      new Local().call();
    });
    fails("executor", () -> {
      var pool = Executors.newSingleThreadExecutor();
      try {
        pool.submit(() -> Shop.charge(17)).get(5, TimeUnit.SECONDS);
      } finally {
        pool.shutdown();
      }
    });
    reports("thread", Main::thread);
  }

  private static Shop.Courier proxy() {
    InvocationHandler handler =
        (self, method, args) -> {
          throw new IllegalStateException("no courier for " + args[0]);
        };
    return (Shop.Courier) Proxy.newProxyInstance(Main.class.getClassLoader(), new Class<?>[] {Shop.Courier.class}, handler);
  }

  private static Shop.Courier checkedProxy() {
    InvocationHandler handler =
        (self, method, args) -> {
          throw new Exception("a checked exception that ship does not declare");
        };
    return (Shop.Courier) Proxy.newProxyInstance(Main.class.getClassLoader(), new Class<?>[] {Shop.Courier.class}, handler);
  }

  private static void thread() throws InterruptedException {
    Thread thread =
        new Thread(
            () -> {
              Sentry.setTag("case", "thread" + VARIANT);
              Shop.refund(17);
            },
            "worker-1");
    thread.start();
    thread.join();
  }

  private static void messages() {
    reports("message", () -> Sentry.captureMessage("stock is low"));
    for (String order : new String[] {"17", "4711000"}) {
      String other = order.equals("17") ? "" : "@other-order";
      reports("message-number" + other, () -> Sentry.captureMessage("order " + order + " is late"));
      reports("message-params" + other, () -> params("order %s is locked", order));
    }
    reports("message-params-other", () -> params("cart %s is locked", "17"));
    reports("message-other-text", () -> Sentry.captureMessage("the door is open"));
    reports("message-warning", () -> Sentry.captureMessage("slow checkout", SentryLevel.WARNING));
  }

  private static void params(String template, String value) {
    Message message = new Message();
    message.setMessage(template);
    message.setParams(List.of(value));
    message.setFormatted(String.format(template, value));
    SentryEvent event = new SentryEvent();
    event.setMessage(message);
    event.setLevel(SentryLevel.WARNING);
    event.setLogger("com.example.shop.Orders");
    Sentry.captureEvent(event);
  }

  private static void scopes() {
    fails("fingerprint-custom", () -> fingerprint(List.of("database-down"), () -> Shop.charge(1)));
    fails("fingerprint-custom@other-error", () -> fingerprint(List.of("database-down"), () -> Shop.reserve("a")));
    fails("fingerprint-other", () -> fingerprint(List.of("cache-down"), () -> Shop.charge(1)));
    for (String region : new String[] {"eu", "us"}) {
      fails("fingerprint-hybrid-" + region, () -> fingerprint(List.of("{{ default }}", region), () -> Shop.charge(1)));
    }
    fails("full-scope", () -> {
      User user = new User();
      user.setId("u-17");
      user.setEmail("ada@example.com");
      Sentry.setUser(user);
      Sentry.setTag("shop", "eu");
      Sentry.addBreadcrumb("SELECT 1", "query");
      Sentry.configureScope(scope -> scope.setContexts("cart", Map.of("lines", 3)));
      Shop.reserve("full");
    });
    for (long offset : new long[] {4711, 4712}) {
      fails("consumer" + (offset == 4711 ? "" : "@other-record"), () -> consume(offset));
    }
  }

  private static void fingerprint(List<String> parts, Work work) throws Throwable {
    Sentry.configureScope(scope -> scope.setFingerprint(parts));
    work.run();
  }

  private static void consume(long offset) {
    Sentry.configureScope(
        scope ->
            scope.setContexts(
                "kafka", Map.of("topic", "orders", "partition", 3, "offset", offset, "consumer_group", "shipping")));
    throw new IllegalArgumentException("cannot read version of record " + offset);
  }

  /** Runs the cases; with an argument one that ends the main thread. */
  public static void main(String[] args) throws Throwable {
    Sentry.init(
        options -> {
          options.setDsn(System.getenv("HOPTRACE_DSN"));
          options.setRelease(System.getenv("GOLDEN_RELEASE"));
          options.setServerName(System.getenv("GOLDEN_HOST"));
          options.setEnvironment("golden");
          options.addInAppInclude("com.example.shop");
          options.setEnableDeduplication(false);
        });
    chains();
    runtime();
    shapes();
    messages();
    scopes();
    for (Map.Entry<String, Work> each : CASES.entrySet()) {
      try (var ignored = Sentry.pushIsolationScope()) {
        Sentry.setTag("case", each.getKey() + VARIANT);
        each.getValue().run();
      }
      Sentry.flush(10_000);
    }
    Sentry.setTag("case", "uncaught" + VARIANT);
    Shop.checkout(17);
  }
}
