/*
 * RunClasses: runs JUnit 4 test classes one after the other and says a line for each test:
 * `ok CLASS.METHOD`, `skip CLASS.METHOD`, or `fail CLASS.METHOD: reason`. A class that does not end
 * in time ends the program, with status 7: what it left running would disturb the next ones, so those
 * are for another run.
 *
 * usage: RunClasses SECONDS CLASS...
 */
import org.junit.runner.Description;
import org.junit.runner.JUnitCore;
import org.junit.runner.notification.Failure;
import org.junit.runner.notification.RunListener;

public class RunClasses {
    static class Lines extends RunListener {
        final Class<?> of;
        boolean good, over;
        Description current;

        Lines(Class<?> of) { this.of = of; }

        synchronized void say(String how, Description d, String why) {
            if (over)
                return; /* given up already */
            String name = of.getSimpleName() + "." + (d == null || d.getMethodName() == null
                ? "(class)" : d.getMethodName());
            System.out.println(how + " " + name + (why == null ? "" : ": " + why));
            System.out.flush();
        }

        @Override public void testStarted(Description d) { good = true; current = d; }
        @Override public void testIgnored(Description d) { say("skip", d, null); }

        @Override public void testAssumptionFailure(Failure f) {
            good = false;
            say("skip", f.getDescription(), oneLine(f.getException()));
        }

        @Override public void testFailure(Failure f) {
            good = false;
            say("fail", f.getDescription(), oneLine(f.getException()));
        }

        @Override public void testFinished(Description d) {
            if (good)
                say("ok", d, null);
        }

        synchronized void giveUp(long seconds) {
            say("fail", current, "not over after " + seconds + " s");
            System.out.flush();
            over = true;
        }

        /* The exception, its causes, and where in the test it was thrown. */
        static String oneLine(Throwable t) {
            StringBuilder s = new StringBuilder();
            for (Throwable c = t; c != null && s.length() < 1000; c = c.getCause())
                s.append(s.length() == 0 ? "" : " <- ").append(c);
            for (StackTraceElement e : t.getStackTrace())
                if (e.getClassName().startsWith("com.rabbitmq.client.test")) {
                    s.append(" at ").append(e.getFileName()).append(":").append(e.getLineNumber());
                    break;
                }
            return s.toString().replace('\n', ' ');
        }
    }

    public static void main(String[] args) throws Exception {
        long seconds = Long.parseLong(args[0]);
        for (int i = 1; i < args.length; i++) {
            Class<?> of = Class.forName(args[i]);
            System.out.println("class " + args[i]);
            Lines lines = new Lines(of);
            JUnitCore core = new JUnitCore();
            core.addListener(lines);
            Thread thread = new Thread(() -> core.run(of));
            thread.setDaemon(true);
            thread.start();
            thread.join(seconds * 1000);
            if (thread.isAlive()) {
                lines.giveUp(seconds);
                System.exit(7);
            }
        }
        System.exit(0);
    }
}
