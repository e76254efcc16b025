// SPDX-License-Identifier: MIT

public import ArgumentParser
public import EPLB
import Platform

/// What a plan is held to; the defaults are the original's.
struct PlacementOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Where replicas may go.", valueName: "automatic|hierarchical|global"))
    var policy = PlacementPolicy.automatic

    @Flag(help: "Never put two replicas of one expert on a GPU.")
    var apart = false

    @Option(help: ArgumentHelp("Exchanges after packing, at most, that lower the fullest GPU's load.", valueName: "n"))
    var swaps = 0

    @Flag(help: "Put replicas of an expert on different nodes, where the policy is global.")
    var spread = false

    @Flag(help: "The same as --apart --spread --swaps 1024.")
    var best = false

    func validate() throws {
        if !(0...1 << 20 ~= swaps) { throw ValidationError("--swaps is \(swaps); 0…\(1 << 20) is legal") }
    }

    /// The same as the library's options.
    var options: RebalanceOptions {
        RebalanceOptions(
            policy: policy, separatesReplicas: apart || best,
            swapLimit: swaps == 0 && best ? RebalanceOptions.best.swapLimit : swaps, spreadsOverNodes: spread || best)
    }
}

extension PlacementPolicy: ExpressibleByArgument {}
