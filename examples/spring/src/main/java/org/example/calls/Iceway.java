package org.example.calls;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.URI;
import java.util.Map;
import org.springframework.http.RequestEntity;
import org.springframework.http.client.SimpleClientHttpRequestFactory;
import org.springframework.web.client.RestTemplate;

/** What this backend asks of iceway, with an API key of the scopes {@code issue} and {@code read}. */
public class Iceway {
    private static final int CONNECT_MS = 300;
    private static final int READ_MS = 2000;

    private final String url;
    private final String key;
    private final RestTemplate rest;

    public Iceway(String url, String key) {
        this.url = url;
        this.key = key;
        SimpleClientHttpRequestFactory requests = new SimpleClientHttpRequestFactory();
        requests.setConnectTimeout(CONNECT_MS);
        requests.setReadTimeout(READ_MS);
        this.rest = new RestTemplate(requests);
    }

    /** @return what {@code new RTCPeerConnection(…)} takes, for a user who is logged in */
    public JsonNode credentials(String user, int seconds) {
        URI place = URI.create(url + "/v1/turn/credentials");
        return rest.exchange(RequestEntity.post(place).header("Authorization", "Bearer " + key)
            .body(Map.of("user", user, "ttl", seconds)), JsonNode.class).getBody();
    }

    /** @param cursor of the page before; {@code null} for all that is remembered */
    public JsonNode callsSince(String cursor) {
        URI place = URI.create(url + "/v1/calls?limit=500" + (cursor == null ? "" : "&since=" + cursor));
        return rest.exchange(RequestEntity.get(place).header("Authorization", "Bearer " + key).build(), JsonNode.class)
            .getBody();
    }
}
