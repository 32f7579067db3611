package org.example.calls;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.security.Principal;
import java.util.Map;
import org.springframework.http.HttpStatus;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RestController;

/**
 * What a messenger's backend has of calls. The front end asks for {@code /api/ice-servers} with its own login; iceway
 * itself asks the two others, which are for it alone: Spring Security must let them pass without a login
 * ({@code requestMatchers("/iceway/**").permitAll()} and no CSRF token), since the signature says who asks.
 */
@RestController
public class CallsController {
    private static final int CREDENTIAL_SECONDS = 3600;

    private final Iceway iceway;
    private final WebhookVerifier verifier;
    private final RightToCall rights;
    private final CallHistory history;
    private final ObjectMapper json = new ObjectMapper();

    public CallsController(Iceway iceway, WebhookVerifier verifier, RightToCall rights, CallHistory history) {
        this.iceway = iceway;
        this.verifier = verifier;
        this.rights = rights;
        this.history = history;
    }

    /** For clients that do not use the signaling relay, which hands these out by itself. */
    @GetMapping("/api/ice-servers")
    public JsonNode iceServers(Principal me) {
        return iceway.credentials(me.getName(), CREDENTIAL_SECONDS);
    }

    /** {@code signal.authorize_url}: is waited for 800 ms, and counts as no if it does not answer. */
    @PostMapping("/iceway/authorize")
    public Map<String, Object> authorize(
            @RequestHeader("webhook-id") String id, @RequestHeader("webhook-timestamp") long timestamp,
            @RequestHeader("webhook-signature") String signatures, @RequestBody byte[] body) throws IOException {
        verifier.verify(id, timestamp, signatures, body);
        return rights.decide(json.readTree(body));
    }

    /** {@code webhooks.url}: whatever is not answered with 2xx comes again. */
    @PostMapping("/iceway/events")
    public ResponseEntity<Void> event(
            @RequestHeader("webhook-id") String id, @RequestHeader("webhook-timestamp") long timestamp,
            @RequestHeader("webhook-signature") String signatures, @RequestBody byte[] body) throws IOException {
        verifier.verify(id, timestamp, signatures, body);
        history.apply(id, json.readTree(body));
        return ResponseEntity.noContent().build();
    }

    @ExceptionHandler(WebhookVerifier.InvalidWebhookException.class)
    public ResponseEntity<String> refuse(WebhookVerifier.InvalidWebhookException why) {
        return ResponseEntity.status(HttpStatus.UNAUTHORIZED).body(why.getMessage());
    }
}
