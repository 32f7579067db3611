package org.example.calls;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.function.Consumer;

/**
 * Who called whom. Events may come twice, and one that was late after one that was not; each carries the whole call,
 * so the one with the greatest number is all that has to be kept.
 */
public final class CallHistory {
    /** Where it is kept. In one transaction of a database, both methods of an event belong together. */
    public interface Store {
        /** @return whether this id is new: {@code INSERT … ON CONFLICT DO NOTHING} */
        boolean rememberEvent(String webhookId);

        /**
         * Keeps a call if what is kept of it is older:
         * {@code INSERT … ON CONFLICT (id) DO UPDATE … WHERE calls.sequence < excluded.sequence}
         *
         * @return whether it was kept
         */
        boolean saveIfNewer(String callId, int sequence, JsonNode call);
    }

    private final Store store;
    private final Consumer<JsonNode> wakeDevices;

    /** @param wakeDevices sends a push to the devices of {@code call.callee}, none of which is connected */
    public CallHistory(Store store, Consumer<JsonNode> wakeDevices) {
        this.store = store;
        this.wakeDevices = wakeDevices;
    }

    /** Takes an event of {@code webhooks.url}. */
    public void apply(String webhookId, JsonNode event) {
        JsonNode call = event.get("call");
        if (call == null || !store.rememberEvent(webhookId)) {
            return;
        }
        boolean isNews = save(call);
        if (isNews && event.path("type").asText().equals("call.push_needed")) {
            wakeDevices.accept(call);
        }
    }

    /** Takes calls of {@code GET /v1/calls}: what webhooks did not bring, while this backend was away for long. */
    public int reconcile(JsonNode page) {
        int missed = 0;
        for (JsonNode call : page.path("calls")) {
            missed += save(call) ? 1 : 0;
        }
        return missed;
    }

    private boolean save(JsonNode call) {
        return store.saveIfNewer(call.path("id").asText(), call.path("sequence").asInt(), call);
    }
}
