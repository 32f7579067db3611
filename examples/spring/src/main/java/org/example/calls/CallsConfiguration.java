package org.example.calls;

import java.time.Clock;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

/** The beans, from {@code application.yml}: {@code iceway.url}, {@code iceway.api-key}, {@code iceway.webhook-secret}. */
@Configuration
public class CallsConfiguration {
    @Bean
    public Iceway iceway(@Value("${iceway.url}") String url, @Value("${iceway.api-key}") String key) {
        return new Iceway(url, key);
    }

    @Bean
    public WebhookVerifier webhookVerifier(@Value("${iceway.webhook-secret}") String secret) {
        return new WebhookVerifier(Clock.systemUTC(), secret.split(","));
    }

    /** Replace both by questions to your own tables. */
    @Bean
    public RightToCall rightToCall() {
        return new RightToCall((from, to) -> !from.equals(to), (user, room) -> true);
    }

    @Bean
    public CallHistory.Store callStore() {
        return new MemoryStore();
    }

    @Bean
    public CallHistory callHistory(CallHistory.Store store) {
        return new CallHistory(store, call -> System.getLogger("calls").log(System.Logger.Level.INFO, "Wake {0}.", call.path("callee").asText()));
    }

    @Bean
    public Reconciler reconciler(Iceway iceway, CallHistory history) {
        return new Reconciler(iceway, history);
    }
}
