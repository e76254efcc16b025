// SPDX-License-Identifier: MIT

internal import Platform

extension RankEnvironment {
    static func slurm(_ reader: VariableReader) throws(FathomError) -> RankEnvironment {
        let countName = reader.text("SLURM_STEP_NUM_TASKS") == nil ? "SLURM_NTASKS" : "SLURM_STEP_NUM_TASKS"
        let count = try reader.number(countName, in: 1...RankGroup.maximumRankCount)
        let rank = try reader.number("SLURM_PROCID", in: 0...count - 1)
        let tasks = reader.text("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE") ?? "\(count)"
        let perNode = try tasksPerNode(tasks)
        let index = try reader.number("SLURM_LOCALID", in: 0...count - 1)
        let topology = try shape(
            rank: rank, count: count, perNode: perNode, index: index,
            found: "SLURM_PROCID=\(rank), \(countName)=\(count), SLURM_LOCALID=\(index), tasks per node \(tasks)")
        let number = reader.text("SLURM_JOB_ID", "SLURM_JOBID") ?? "0"
        let job = "\(number).\(reader.text("SLURM_STEP_ID", "SLURM_STEPID") ?? "0")"
        let rendezvous: HostPort
        if let address = reader.text("FATHOM_RENDEZVOUS") {
            rendezvous = try HostPort(text: address, name: "FATHOM_RENDEZVOUS")
        } else {
            let reserved = reader.text("SLURM_STEP_RESV_PORTS").flatMap { Int($0.prefix { $0.isNumber }) }
            let port = reserved ?? derivedPort(job)
            if topology.nodeCount == 1 {
                rendezvous = HostPort(host: "127.0.0.1", port: port)
            } else if let list = reader.text("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"),
                let host = firstHost(ofNodeList: list)
            {
                rendezvous = HostPort(host: host, port: port)
            } else {
                throw FathomError(
                    .configuration, "SLURM_STEP_NODELIST names no host; legal is a list such as node[01-04]")
            }
        }
        return RankEnvironment(launcher: .slurm, rank: rank, topology: topology, rendezvous: rendezvous, job: job)
    }

    /// The number that Slurm writes as `4` or `4(x2)`.
    ///
    /// - Throws: `configuration` for lists of different numbers.
    static func tasksPerNode(_ text: String) throws(FathomError) -> Int {
        guard let match = text.wholeMatch(of: /(\d+)(\(x\d+\))?/), let count = Int(match.output.1), count > 0 else {
            throw FathomError(
                .configuration, "tasks per node are '\(text)'; legal is the same number on each node, such as 4(x2)")
        }
        return count
    }

    /// The first host of a list such as `node[01-04,07],gpu3`: of every bracket the first value.
    static func firstHost(ofNodeList list: String) -> String? {
        var host = ""
        var rest = list[...]
        while let character = rest.popFirst(), character != "," {
            guard character == "[" else {
                host.append(character)
                continue
            }
            guard let end = rest.firstIndex(of: "]") else { return nil }
            host += rest[..<end].prefix { $0 != "," && $0 != "-" }
            rest = rest[rest.index(after: end)...]
        }
        return host.isEmpty ? nil : host
    }
}
