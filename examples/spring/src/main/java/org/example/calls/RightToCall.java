package org.example.calls;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.BiPredicate;

/** Answers iceway's question whether somebody may call somebody, or join a room. */
public final class RightToCall {
    /** How long iceway may remember a yes. */
    private static final int REMEMBERED_SECONDS = 30;

    private final BiPredicate<String, String> areContacts;
    private final BiPredicate<String, String> isMember;

    /**
     * @param areContacts of two users
     * @param isMember of a user and a room
     */
    public RightToCall(BiPredicate<String, String> areContacts, BiPredicate<String, String> isMember) {
        this.areContacts = areContacts;
        this.isMember = isMember;
    }

    /** @param question such as {@code {"kind":"call","from":{"user":"ann"},"to":{"user":"bob"}}} */
    public Map<String, Object> decide(JsonNode question) {
        String from = question.path("from").path("user").asText();
        JsonNode to = question.path("to");
        return switch (question.path("kind").asText()) {
            case "call" -> to.has("room")
                ? answer(isMember.test(from, to.get("room").asText()), "not-a-member")
                : answer(areContacts.test(from, to.path("user").asText()), "not-contacts");
            case "join" -> answer(isMember.test(from, to.path("room").asText()), "not-a-member");
            case "connect", "turn" -> answer(true, null);
            // What a later version may ask: nobody decided that it is allowed.
            default -> answer(false, "unknown-kind");
        };
    }

    private static Map<String, Object> answer(boolean isAllowed, String reason) {
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("allow", isAllowed);
        if (isAllowed) {
            answer.put("ttl", REMEMBERED_SECONDS);
        } else {
            answer.put("reason", reason);
        }
        return answer;
    }
}
