// SPDX-License-Identifier: MIT

package import CUDA

/// The schedule of `gemm.cu` as a model that can be explored: producers, multiplying warpgroups, the ring of stages
/// with its barriers, clusters that share an operand, and the output buffer.
///
/// One agent is the producer of a block or one of its warpgroups (whose four warps arrive as one). Everything that the
/// kernel's loops do is here in the same order; change both together.
package struct CUDAGemmSchedule: Hashable, Sendable {
    package var stages: Int
    /// K blocks of each tile, and tiles of each block.
    package var blocks: Int
    package var tiles: Int
    package var cluster: Int
    package var mathGroups: Int
    /// BF16 releases a stage one K block later than FP8, whose products are waited for at once.
    package var releasesLate: Bool
    package var fault: Fault = .none

    /// Mistakes that an exploration must find.
    package enum Fault: String, CaseIterable, Sendable {
        case none
        /// A warpgroup forgets one release.
        case missingRelease
        /// A warpgroup releases only its own block's stage, not the other's of the cluster.
        case releasesOwnBlockOnly
        /// The producer's parity does not flip.
        case producerParity
        /// A consumer's parity is not carried from tile to tile.
        case consumerParity
        /// The stage is released before its products have ended.
        case earlyRelease
        /// The barrier counts less than what is copied.
        case bytesOfOwnHalfOnly
        /// The output buffer is filled while the copy engine still reads it.
        case noStoreWait
    }

    package init(
        stages: Int, blocks: Int, tiles: Int, cluster: Int = 1, mathGroups: Int = 2, releasesLate: Bool = false,
        fault: Fault = .none
    ) {
        self.stages = stages
        self.blocks = blocks
        self.tiles = tiles
        self.cluster = cluster
        self.mathGroups = mathGroups
        self.releasesLate = releasesLate
        self.fault = fault
    }

    /// The model of this schedule.
    package var model: ScheduleModel {
        var model = ScheduleModel()
        let blocksOfCluster = (0..<cluster).map { rank in
            BlockParts(&model, rank: rank, stages: stages, cluster: cluster, mathGroups: mathGroups)
        }
        let end = model.namedBarrier("end", participants: cluster * (mathGroups + 1))
        for rank in 0..<cluster {
            model.agent("producer \(rank)", producer(rank, blocksOfCluster) + [.sync(end)])
            for group in 0..<mathGroups {
                model.agent("math \(rank).\(group)", consumer(rank, group, blocksOfCluster) + [.sync(end)])
            }
        }
        let rounds = tiles * blocks
        for parts in blocksOfCluster {
            for stage in 0..<stages {
                let phases = (rounds + stages - 1 - stage) / stages
                model.require(parts.full[stage], phases: phases)
                model.require(parts.empty[stage], phases: phases)
            }
        }
        return model
    }

    /// What a block has in shared memory.
    private struct BlockParts {
        var full: [ScheduleModel.Barrier]
        var empty: [ScheduleModel.Barrier]
        /// For each stage what it holds, by the rank that sends it: the block's own operand with its half of the shared
        /// one, and the other's half.
        var parts: [[ScheduleModel.Buffer]]
        var outputs: [ScheduleModel.Buffer]

        init(_ model: inout ScheduleModel, rank: Int, stages: Int, cluster: Int, mathGroups: Int) {
            full = (0..<stages).map { model.barrier("full \(rank).\($0)", arrivals: 1) }
            empty = (0..<stages).map { model.barrier("empty \(rank).\($0)", arrivals: mathGroups * cluster) }
            parts = (0..<stages).map { stage in
                (0..<cluster).map { model.buffer("stage \(rank).\(stage) from \($0)") }
            }
            outputs = (0..<mathGroups).map { model.buffer("output \(rank).\($0)") }
        }
    }

    private func producer(_ rank: Int, _ parts: [BlockParts]) -> [ScheduleModel.Step] {
        var steps: [ScheduleModel.Step] = []
        for round in 0..<tiles * blocks {
            let (stage, parity) = (round % stages, round / stages % 2)
            let mine = parts[rank]
            let wrong = fault == .producerParity && round >= stages
            steps.append(.wait(mine.empty[stage], parity: wrong ? 1 : parity ^ 1))
            let bytes = fault == .bytesOfOwnHalfOnly ? 3 : cluster + 2
            steps.append(.expect(mine.full[stage], bytes: bytes))
            // To itself a block sends its own operand along with its half: one landing instead of two.
            let targets = parts.enumerated().map { other, part in
                ScheduleModel.LoadTarget(
                    part.parts[stage][rank], part.full[stage], bytes: other == rank ? 3 : 1)
            }
            steps.append(.load(targets, tag: round))
        }
        return steps
    }

    private func consumer(_ rank: Int, _ group: Int, _ parts: [BlockParts]) -> [ScheduleModel.Step] {
        let mine = parts[rank]
        var steps: [ScheduleModel.Step] = []
        func release(_ round: Int) {
            let stage = round % stages
            let arrivals: [ScheduleModel.Step] =
                fault == .missingRelease && round == 0 && group == 0
                ? []
                : (fault == .releasesOwnBlockOnly ? [mine] : parts).map { .arrive($0.empty[stage]) }
            let ends = mine.parts[stage].map { ScheduleModel.Step.endRead($0) }
            steps += fault == .earlyRelease ? arrivals + ends : ends + arrivals
        }
        for tile in 0..<tiles {
            for block in 0..<blocks {
                let round = tile * blocks + block
                let position = fault == .consumerParity ? block : round
                let stage = round % stages
                steps.append(.wait(mine.full[stage], parity: position / stages % 2))
                steps += mine.parts[stage].map { .beginRead($0, tag: round) }
                if !releasesLate { release(round) } else if block > 0 { release(round - 1) }
            }
            if releasesLate, blocks > 0 { release(tile * blocks + blocks - 1) }
            let output = mine.outputs[group]
            if fault != .noStoreWait { steps.append(.waitStores(pending: 0)) }
            steps += [.write(output, tag: tile), .store(output, tag: tile)]
        }
        return steps + [.waitStores(pending: 0)]
    }
}
