import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command line tools one after the other in one JVM, because each start of one costs a second.
 *
 * A request on standard input: the class, the number of arguments, then each argument, a line each. The answer: what the tool
 * printed on either output, then a line "\u0001 STATUS".
 */
public final class Tools {
    /** What a tool throws where it would end the JVM. */
    private static final class Ended extends Error {
        Ended() {
            super(null, null, false, false);
        }
    }

    /** The status that the tool asked for first; some catch all that is thrown, then end once more. */
    private static Integer asked;

    /** Standard output as the tools see it: some keep the stream of their first use, so the stream stays and its target changes. */
    private static final class Current extends OutputStream {
        private OutputStream target = OutputStream.nullOutputStream();

        @Override
        public synchronized void write(int b) throws java.io.IOException {
            target.write(b);
        }

        @Override
        public synchronized void write(byte[] bytes, int from, int count) throws java.io.IOException {
            target.write(bytes, from, count);
        }

        synchronized void to(OutputStream next) {
            target = next;
        }
    }

    public static void main(String[] none) throws Exception {
        PrintStream answers = System.out;
        Current current = new Current();
        PrintStream shown = new PrintStream(current, true);
        System.setOut(shown);
        System.setErr(shown);
        Exit.Procedure end = (status, message) -> {
            if (message != null) {
                shown.println(message);
            }
            if (asked == null) {
                asked = status;
            }
            throw new Ended();
        };
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in));
        for (String name = requests.readLine(); name != null; name = requests.readLine()) {
            String[] arguments = new String[Integer.parseInt(requests.readLine())];
            for (int i = 0; i < arguments.length; i++) {
                arguments[i] = requests.readLine();
            }
            ByteArrayOutputStream printed = new ByteArrayOutputStream();
            current.to(printed);
            int status = run(name, arguments, shown);
            shown.flush();
            current.to(OutputStream.nullOutputStream());
            printed.writeTo(answers);
            answers.println("\n\u0001 " + status);
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static int run(String name, String[] arguments, PrintStream shown) {
        asked = null;
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) arguments);
            return asked == null ? 0 : asked;
        } catch (InvocationTargetException thrown) {
            if (thrown.getCause() instanceof Ended) {
                return asked;
            }
            thrown.getCause().printStackTrace(shown);
            return 1;
        } catch (ReflectiveOperationException missing) {
            missing.printStackTrace(shown);
            return 127;
        }
    }
}
