package org.example.calls;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Clock;
import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Tells requests of iceway from those of anybody else: signatures of the Standard Webhooks specification, by one of
 * several secrets, so that a secret can be replaced while requests arrive.
 */
public final class WebhookVerifier {
    private static final long TOLERANCE_SECONDS = 300;
    private static final String PREFIX = "whsec_";
    private static final String VERSION = "v1,";

    private final Clock clock;
    private final byte[][] secrets;

    /** @param secrets as in the file of {@code webhooks.secret_file}: {@code whsec_} and base64 */
    public WebhookVerifier(Clock clock, String... secrets) {
        this.clock = clock;
        this.secrets = new byte[secrets.length][];
        for (int i = 0; i < secrets.length; i++) {
            this.secrets[i] = secrets[i].startsWith(PREFIX)
                ? Base64.getDecoder().decode(secrets[i].substring(PREFIX.length()))
                : secrets[i].getBytes(StandardCharsets.UTF_8);
        }
    }

    /**
     * @param body as it arrived: JSON that was read and written again has other bytes
     * @throws InvalidWebhookException it is old, or none of the signatures is by one of the secrets
     */
    public void verify(String id, long timestamp, String signatures, byte[] body) {
        if (Math.abs(clock.instant().getEpochSecond() - timestamp) > TOLERANCE_SECONDS) {
            throw new InvalidWebhookException("The time of the request is too far from ours.");
        }
        for (byte[] secret : secrets) {
            byte[] wanted = sign(secret, id, timestamp, body);
            for (String signature : signatures.split(" ")) {
                if (signature.startsWith(VERSION) && isSame(wanted, signature.substring(VERSION.length()))) {
                    return;
                }
            }
        }
        throw new InvalidWebhookException("No signature is by a secret of ours.");
    }

    private static byte[] sign(byte[] secret, String id, long timestamp, byte[] body) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(secret, "HmacSHA256"));
            mac.update((id + '.' + timestamp + '.').getBytes(StandardCharsets.UTF_8));
            return mac.doFinal(body);
        } catch (GeneralSecurityException impossible) {
            throw new IllegalStateException("Every Java has HmacSHA256.", impossible);
        }
    }

    /** In a time that does not tell how much of it is right. */
    private static boolean isSame(byte[] wanted, String base64) {
        try {
            return MessageDigest.isEqual(wanted, Base64.getDecoder().decode(base64));
        } catch (IllegalArgumentException notBase64) {
            return false;
        }
    }

    /** Answer 401: iceway then tries again, and its log says so. */
    public static final class InvalidWebhookException extends RuntimeException {
        InvalidWebhookException(String message) {
            super(message);
        }
    }
}
