import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.time.Clock;
import java.util.Map;
import java.util.concurrent.Executors;
import org.example.calls.CallHistory;
import org.example.calls.CallsController;
import org.example.calls.Iceway;
import org.example.calls.MemoryStore;
import org.example.calls.Reconciler;
import org.example.calls.RightToCall;
import org.example.calls.WebhookVerifier;
import org.springframework.http.ResponseEntity;

/**
 * The classes of examples/spring behind the JDK's own HTTP server, since there is no servlet container here: what
 * Spring would do between the wire and the controller, and no more. Ann and Bob are contacts, Eve is nobody's.
 */
public final class Backend {
    private static final ObjectMapper JSON = new ObjectMapper();

    private interface Handler {
        Object handle(HttpExchange exchange, byte[] body) throws IOException;
    }

    public static void main(String[] arguments) throws IOException {
        MemoryStore store = new MemoryStore();
        Iceway iceway = new Iceway(System.getenv("ICEWAY"), System.getenv("KEY"));
        CallHistory history = new CallHistory(store, call -> say("wake " + call.path("callee").asText()));
        RightToCall rights = new RightToCall((from, to) -> !from.equals("eve") && !to.equals("eve"), (user, room) -> true);
        WebhookVerifier verifier = new WebhookVerifier(Clock.systemUTC(), System.getenv("WEBHOOK_SECRET"));
        CallsController controller = new CallsController(iceway, verifier, rights, history);
        Reconciler reconciler = new Reconciler(iceway, history);

        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 64);
        server.setExecutor(Executors.newFixedThreadPool(8));
        at(server, "/api/ice-servers", (exchange, body) -> controller.iceServers(() -> exchange.getRequestURI().getQuery()));
        at(server, "/iceway/authorize", (exchange, body) -> {
            JsonNode question = JSON.readTree(body);
            Object answer = controller.authorize(header(exchange, "webhook-id"), Long.parseLong(header(exchange, "webhook-timestamp")),
                header(exchange, "webhook-signature"), body);
            say("asked " + question.path("kind").asText() + " by " + question.path("from").path("user").asText());
            return answer;
        });
        at(server, "/iceway/events", (exchange, body) -> controller.event(header(exchange, "webhook-id"),
            Long.parseLong(header(exchange, "webhook-timestamp")), header(exchange, "webhook-signature"), body));
        at(server, "/history", (exchange, body) -> store.calls());
        at(server, "/reconcile", (exchange, body) -> Map.of("missed", reconciler.run()));
        server.start();
        say("listening");
    }

    private static void at(HttpServer server, String path, Handler handler) {
        server.createContext(path, exchange -> {
            try (exchange) {
                Object answer;
                try {
                    answer = handler.handle(exchange, exchange.getRequestBody().readAllBytes());
                } catch (WebhookVerifier.InvalidWebhookException why) {
                    answer = ResponseEntity.status(401).body(why.getMessage());
                } catch (IOException | RuntimeException error) {
                    say("failed " + path + ": " + error);
                    answer = ResponseEntity.status(500).body(null);
                }
                int status = answer instanceof ResponseEntity<?> entity ? entity.getStatusCodeValue() : 200;
                Object content = answer instanceof ResponseEntity<?> entity ? entity.getBody() : answer;
                byte[] bytes = content == null ? new byte[0] : JSON.writeValueAsBytes(content);
                exchange.getResponseHeaders().set("Content-Type", "application/json");
                exchange.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
                if (bytes.length > 0) {
                    exchange.getResponseBody().write(bytes);
                }
            }
        });
    }

    private static String header(HttpExchange exchange, String name) {
        String value = exchange.getRequestHeaders().getFirst(name);
        return value == null ? "0" : value;
    }

    private static synchronized void say(String words) {
        System.out.println(words);
        System.out.flush();
    }
}
