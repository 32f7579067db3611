package org.example.calls;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Collection;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** For tests and a first try; a real one has two tables. */
public final class MemoryStore implements CallHistory.Store {
    private final Set<String> events = ConcurrentHashMap.newKeySet();
    private final Map<String, Kept> calls = new ConcurrentHashMap<>();

    private record Kept(int sequence, JsonNode call) { }

    @Override
    public boolean rememberEvent(String webhookId) {
        return events.add(webhookId);
    }

    @Override
    public boolean saveIfNewer(String callId, int sequence, JsonNode call) {
        Kept kept = new Kept(sequence, call);
        return calls.merge(callId, kept, (old, fresh) -> old.sequence() < fresh.sequence() ? fresh : old) == kept;
    }

    /** All calls as they are known last. */
    public Collection<JsonNode> calls() {
        return calls.values().stream().map(Kept::call).toList();
    }
}
