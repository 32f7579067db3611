package org.example.calls;

import com.fasterxml.jackson.databind.JsonNode;

/**
 * Compares the history with iceway's own list, from where it was left last. Run it every few minutes
 * ({@code @Scheduled(fixedDelay = 300_000)}) and after an outage: webhooks are retried for days, but not for ever.
 */
public final class Reconciler {
    private final Iceway iceway;
    private final CallHistory history;
    /** Keep it in the database, beside the calls. */
    private String cursor;

    public Reconciler(Iceway iceway, CallHistory history) {
        this.iceway = iceway;
        this.history = history;
    }

    /** @return how many calls were news */
    public synchronized int run() {
        int missed = 0;
        JsonNode page;
        do {
            page = iceway.callsSince(cursor);
            missed += history.reconcile(page);
            cursor = page.path("cursor").asText();
        } while (page.path("hasMore").asBoolean());
        return missed;
    }
}
