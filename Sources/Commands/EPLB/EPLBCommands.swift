// SPDX-License-Identifier: MIT

import ArgumentParser

/// Commands about the placement of experts.
struct EPLBCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eplb",
        abstract: "Place the experts of a model on GPUs, so that all have the same to do.",
        discussion: """
            EXAMPLES
              echo '{"weight": [[9, 1, 4, 2]], "replicas": 6, "gpus": 3}' | fathom eplb plan --input -
              fathom eplb show --input loads.jsonl
              fathom eplb bench
            """,
        subcommands: [EPLBPlan.self, EPLBShow.self, EPLBBench.self])
}
