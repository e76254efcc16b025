// SPDX-License-Identifier: MIT

public import Platform

extension RankGroup {
    /// Joins the group that a launcher's variables describe: meets the others at rank 0 over TCP, then shares memory
    /// with them.
    ///
    /// - Throws: `unavailable` naming the ranks that did not come within the limit, the rank that came twice or thinks
    ///   of another group, or those on machines that share no memory with rank 0.
    public static func join(
        _ environment: RankEnvironment, limits: Limits = Limits()
    ) throws(FathomError) -> RankGroup {
        let topology = environment.topology
        let deadline = ContinuousClock.now + .milliseconds(limits.timeoutMilliseconds)
        let own = RendezvousHello(
            rank: environment.rank, topology: topology, job: environment.job, machine: MachineIdentity.name)
        guard environment.rank == 0 else {
            let reply = try RendezvousGuest.greet(own, at: environment.rendezvous, deadline: deadline)
            guard case .welcome(let text, let machines, _) = reply else {
                throw FathomError(.internal, "an answer of rank 0 that is no welcome")
            }
            try checkMachines(machines)
            return try join(try GroupAddress(text: text), rank: environment.rank, limits: limits)
        }
        let host = try GroupHost(topology)
        if topology.rankCount > 1 {
            let table = RendezvousTable(topology: topology, own: own, groupText: host.address.text)
            var rendezvous = try RendezvousHost(
                at: environment.rendezvous, sharesPort: environment.launcher == .fathom, table: table,
                rankCount: topology.rankCount, deadline: deadline)
            try checkMachines(try rendezvous.run())
        }
        return try host.group(limits: limits)
    }

    /// - Throws: `unavailable` naming the ranks that share no memory with rank 0.
    private static func checkMachines(_ machines: [String]) throws(FathomError) {
        let strangers = machines.indices.filter { machines[$0] != machines[0] }
        guard strangers.isEmpty else {
            let names = strangers.map(String.init).joined(separator: ", ")
            throw FathomError(
                .unavailable,
                "rank \(names) and rank 0 are on different machines, which share no memory; legal is one machine")
        }
    }
}
