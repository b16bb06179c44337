package org.awaitility;

import java.util.concurrent.Callable;
import org.hamcrest.Matcher;

/** What the Java client's tests use of Awaitility, which Debian does not have. */
public class Awaitility {
    private final long millis;

    private Awaitility(long millis) { this.millis = millis; }

    public static Awaitility waitAtMost(Duration most) { return new Awaitility(most.millis); }

    public <T> void until(Callable<T> value, Matcher<? super T> wanted) {
        long end = System.currentTimeMillis() + millis;
        try {
            while (!wanted.matches(value.call())) {
                if (System.currentTimeMillis() > end)
                    throw new AssertionError("waited in vain for " + wanted + ", it is " + value.call());
                Thread.sleep(20);
            }
        } catch (Exception e) {
            throw new RuntimeException(e);
        }
    }
}
