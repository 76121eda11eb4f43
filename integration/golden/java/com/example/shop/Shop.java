package com.example.shop;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;

/** The parts of a shop that fail; Main calls them. */
final class Shop {
  private Shop() {}

  static class Declined extends RuntimeException {
    Declined(int order) {
      super("card of order " + order + " declined");
    }
  }

  static class StockEmpty extends Exception {
    StockEmpty(String sku) {
      super("nothing left of " + sku);
    }
  }

  record Line(String sku, Integer cents) {}

  interface Courier {
    String ship(String order) throws StockEmpty;
  }

  static void charge(int order) {
    authorise(order);
  }

  private static void authorise(int order) {
    throw new Declined(order);
  }

  static void chargeTwoLines(int order) {
    if (order < 100) {
      throw new Declined(order);
    }
    throw new Declined(order);
  }

  static void refund(int order) {
    try {
      authorise(order);
    } catch (Declined e) {
      throw new IllegalStateException("cannot refund order " + order, e);
    }
  }

  static void checkout(int order) {
    try {
      refund(order);
    } catch (IllegalStateException e) {
      throw new RuntimeException(e);
    }
  }

  static void reserve(String sku) throws StockEmpty {
    throw new StockEmpty(sku);
  }

  static int total(List<Line> lines) {
    return lines.stream().mapToInt(line -> line.cents()).sum();
  }

  static void price(Map<String, Integer> prices, String sku) {
    prices.computeIfAbsent(
        sku,
        missing -> {
          throw new IllegalArgumentException("no price of " + missing);
        });
  }

  static int length(String text) {
    return text.length();
  }

  static String shelf(int n) {
    return new String[] {"a", "b"}[n];
  }

  static int share(int sum, int parts) {
    return sum / parts;
  }

  static Object cast(Object value) {
    return (Integer) value;
  }

  static void read(String path) {
    try {
      Files.readString(Path.of(path));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static void modify() {
    List<Integer> list = new ArrayList<>(List.of(1, 2, 3));
    for (Integer n : list) {
      list.remove(n);
    }
  }

  static int recurse(int n) {
    if (n == 0) {
      throw new IllegalStateException("the tree has no leaf");
    }
    return recurse(n - 1) + 1;
  }

  static int overflow(int n) {
    return overflow(n + 1) + 1;
  }

  static void suppressed() throws Exception {
    try (AutoCloseable ignored =
        () -> {
          throw new IOException("the cart does not close");
        }) {
      throw new Declined(17);
    }
  }

  static void future() {
    CompletableFuture.supplyAsync(() -> length(null)).join();
  }

  static <T, R> R apply(Function<T, R> f, T value) {
    return f.apply(value);
  }

  static void anonymous() {
    new Runnable() {
      @Override
      public void run() {
        throw new UnsupportedOperationException("not yet");
      }
    }.run();
  }

  final class Inner {
    void fail() {
      throw new IllegalStateException("inner");
    }
  }

  static void inner() {
    new Shop().new Inner().fail();
  }

  static void initialise() {
    Broken.touch();
  }

  static class Broken {
    static final int VALUE = Integer.parseInt("none");

    static void touch() {}
  }

  enum State {
    OPEN,
    CLOSED
  }
}
