// SPDX-License-Identifier: MIT

import CoreMetrics
import DeepSeekModel
import Synchronization

/// How the processes of an expert-parallel model share the work, for `/metrics`.
final class ExpertMetrics: Sendable {
    private let ranks = Gauge(label: "fathom:expert_ranks")
    private let balance = Gauge(label: "fathom:expert_balance")
    private let rebalances = Gauge(label: "fathom:expert_rebalances")
    private let movedBytes = Gauge(label: "fathom:expert_moved_bytes")
    /// By rank; those that were members once.
    private let loads = Mutex<[Int: Gauge]>([:])

    func record(_ status: ExpertParallelExecutor.Status) {
        ranks.record(status.members.count)
        balance.record(status.balancedness)
        rebalances.record(status.rebalanceCount)
        movedBytes.record(status.movedBytes)
        loads.withLock { loads in
            for rank in loads.keys where !status.members.contains(rank) { loads[rank]?.record(0) }
            for (rank, load) in zip(status.members, status.rankLoads) {
                let gauge =
                    loads[rank] ?? Gauge(label: "fathom:expert_rank_load", dimensions: [("rank", "\(rank)")])
                gauge.record(load)
                loads[rank] = gauge
            }
        }
    }
}
