//! The examples of README.md, run as they stand there.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::nodes::Issued;
use crate::support::server::API_KEY;
use crate::support::{Server, Setup, Tool};

const CURL_LIMIT: Duration = Duration::from_secs(20);
/// It compiles first.
const JAVA_LIMIT: Duration = Duration::from_secs(120);

#[test]
fn every_curl_of_the_readme_works() {
    let server = Server::start(Setup::default());
    let blocks: Vec<String> = blocks("sh").into_iter().filter(|block| block.contains("$ICEWAY")).collect();
    let issuing =
        ["/v1/turn/credentials", "/turn ", "/credentials/generate-ice-servers", "/v1/turn/revocations"];
    for path in issuing {
        assert!(blocks.iter().any(|block| block.contains(path)), "README.md has no example of {path}");
    }
    let mut issued = Vec::new();
    for block in blocks {
        let answer = curl(&server, &block);
        if block.contains("/v1/turn/revocations") {
            let held: &Issued = issued.first().expect("README.md issues before it revokes");
            assert!(answer["cut"].is_u64(), "{block}: {answer}");
            assert_eq!(held.client(&server).allocate(), Err(401), "{block}: it is still good");
            continue;
        }
        let credential = read(&answer);
        credential.allocates_at(&server);
        issued.push(credential);
    }
}

#[test]
fn the_spring_boot_example_of_the_readme_works() {
    let server = Server::start(Setup::default());
    let examples = blocks("java");
    let [example] = &examples[..] else { panic!("README.md has {} examples in Java", examples.len()) };
    let lines = example.lines().filter(|line| !line.trim().is_empty()).count();
    assert_eq!(lines, 5, "five lines are promised:\n{example}");
    let run = spring(&server, example);
    assert!(run.status.success(), "{}", run.output);
    let answer: Value = serde_json::from_str(run.output.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {}", run.output));
    let issued = read(&answer);
    issued.allocates_at(&server);
    let held = issued.client(&server).allocate();
    assert!(held.is_ok(), "{held:?}");
    let page = server.get("/v1/allocations?user=ann").expect(200).json();
    assert_eq!(page["allocations"].as_array().map(Vec::len), Some(1), "the user that was logged in: {page}");
}

/// The fenced blocks of one language, in order.
fn blocks(language: &str) -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let opening = format!("```{language}\n");
    let rest = text.split(opening.as_str()).skip(1);
    rest.map(|block| block.split("\n```").next().unwrap().to_owned()).collect()
}

/// Runs an example and reads the JSON that it prints.
fn curl(server: &Server, example: &str) -> Value {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", example]);
    let key_id = API_KEY.split('_').nth(1).unwrap();
    command.env("ICEWAY", format!("http://{}", server.http)).env("KEY", API_KEY).env("KEY_ID", key_id);
    let run = Tool::run(command, server.directory(), "curl", CURL_LIMIT);
    assert!(run.status.success(), "{example}: {}", run.output);
    let printed = run.output.lines().last().unwrap_or_default();
    serde_json::from_str(printed).unwrap_or_else(|error| panic!("{error}: {example}: {printed}"))
}

/// Puts the example into a controller and calls it as for a user who is logged in, with Debian's Spring.
fn spring(server: &Server, example: &str) -> Tool {
    let program = format!(
        "import java.net.URI;
import java.security.Principal;
import java.util.Map;
import org.springframework.http.RequestEntity;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestTemplate;

@RestController
public class Example {{
    private final String iceway = System.getenv(\"ICEWAY\");
    private final String key = System.getenv(\"KEY\");

{example}

    public static void main(String[] arguments) throws Exception {{
        var answer = new Example().iceServers(() -> \"ann\");
        System.out.println(new com.fasterxml.jackson.databind.ObjectMapper().writeValueAsString(answer));
    }}
}}
"
    );
    let file = server.directory().join("Example.java");
    std::fs::write(&file, program).unwrap();
    let jars = ["spring3-web", "spring3-core", "spring3-beans", "spring3-context", "commons-logging"];
    let jackson = ["jackson-databind", "jackson-core", "jackson-annotations"];
    let jars = jars.iter().chain(&jackson).map(|jar| format!("/usr/share/java/{jar}.jar"));
    let mut command = Command::new("java");
    command.arg("--class-path").arg(jars.collect::<Vec<_>>().join(":")).arg(file);
    command.env("ICEWAY", format!("http://{}", server.http)).env("KEY", API_KEY);
    Tool::run(command, server.directory(), "java", JAVA_LIMIT)
}

/// The credential in an answer of any form.
fn read(answer: &Value) -> Issued {
    if answer["iceServers"].is_null() {
        let uris = json!({ "urls": answer["uris"], "username": answer["username"], "credential": answer["password"] });
        return Issued::read(&json!({ "iceServers": [uris] }));
    }
    Issued::read(answer)
}
