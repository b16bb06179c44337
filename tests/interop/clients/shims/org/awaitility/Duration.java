package org.awaitility;

import java.util.concurrent.TimeUnit;

/** What the Java client's tests use of Awaitility, which Debian does not have. */
public class Duration {
    final long millis;

    public Duration(long count, TimeUnit unit) { millis = unit.toMillis(count); }
}
