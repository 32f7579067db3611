//! Keys of `node`.

use super::{ANY, Key, text};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "node.id",
        rule: text(1, 64),
        brief: "Name of this node among the others",
        about: "Letters, digits, '.', '_' and '-'. Must differ between nodes that share a Redis. Unless set it is the name \
                of the machine, so two nodes on one machine need it.",
        secret: false,
        reloads: false,
        field: |config| &mut config.node.id,
    },
    Key {
        path: "node.region",
        rule: text(0, 64),
        brief: "Where this node is, such as eu-west",
        about: "Callers of the credential API may ask for a region and are then given nodes of this name only; without one \
                they are given nodes of the region of the node they ask.",
        secret: false,
        reloads: false,
        field: |config| &mut config.node.region,
    },
    Key {
        path: "node.host",
        rule: text(1, 253),
        brief: "Host name clients reach this node by",
        about: "Stands in the URIs of issued credentials instead of addresses. turns: needs it, since browsers check it \
                against the certificate. Some clients of the draft-uberti form can not read addresses of IPv6.",
        secret: false,
        reloads: false,
        field: |config| &mut config.node.host,
    },
    Key {
        path: "node.uris",
        rule: ANY,
        brief: "URIs clients are given, instead of those made of what is listened on",
        about: "For a load balancer or mapped ports in front, such as [\"stun:turn.example.org\", \
                \"turn:turn.example.org:443?transport=tcp\", \"turns:turn.example.org:443?transport=tcp\"]. Browsers \
                refuse port 53.",
        secret: false,
        reloads: false,
        field: |config| &mut config.node.uris,
    },
];
