// SPDX-License-Identifier: MIT

internal import Platform

/// How the memory that a rank shares with the others is divided; the same at every rank.
struct ExchangeMemory: Sendable {
    let placement: ExpertPlacement
    let format: RowFormat
    /// Of the rows that come back.
    let returnFormat: RowFormat
    let topK: Int
    let capacity: ExchangeCapacity
    let nodeCount: Int

    /// A cache line: records begin on one.
    static let alignment = 64

    private static func aligned(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }

    // MARK: A record: numbers and scales of a token, then its number at the source, its experts and their weights.

    var tokenOffset: Int { (format.rowBytes + 3) / 4 * 4 }
    var expertsOffset: Int { tokenOffset + 4 }
    var weightsOffset: Int { expertsOffset + 4 * topK }
    var recordBytes: Int { weightsOffset + 4 * topK }
    var recordStride: Int { Self.aligned(recordBytes) }

    // MARK: A returned row: numbers in the precision of combine, then top-k weights.

    var returnDataBytes: Int { returnFormat.dataBytes }
    var returnElementBytes: Int { returnFormat.element == .float32 ? 4 : 2 }
    var returnWeightsOffset: Int { (returnDataBytes + 3) / 4 * 4 }
    var returnStride: Int { Self.aligned(returnWeightsOffset + 4 * topK) }

    // MARK: Areas

    /// Integers of a rank's counts.
    var countsLength: Int { placement.rankCount + nodeCount + placement.expertCount }

    /// Where `rank` puts the counts of an exchange.
    func countsOffset(from rank: Int, epoch: Int) -> Int {
        ((epoch & 1) * placement.rankCount + rank) * Self.aligned(4 * countsLength)
    }

    var landingOffset: Int { 2 * placement.rankCount * Self.aligned(4 * countsLength) }
    var relayOffset: Int { landingOffset + capacity.landingRows * recordStride }
    var returnOffset: Int { relayOffset + (nodeCount > 1 ? nodeCount : 0) * capacity.relayRows * recordStride }
    var returnAreaOffset: Int {
        returnOffset + (placement.rankCount + nodeCount) * capacity.returnRows * returnStride
    }
    var byteCount: Int { returnAreaOffset + capacity.landingRows * returnStride }

    func landing(_ slot: Int) -> Int { landingOffset + slot * recordStride }
    func relay(_ slot: Int) -> Int { relayOffset + slot * recordStride }
    func returned(_ slot: Int) -> Int { returnOffset + slot * returnStride }
    func returnArea(_ row: Int) -> Int { returnAreaOffset + row * returnStride }

    // MARK: Words behind those of the protocols, for a group of so many ranks whatever part of it is left

    /// The word that says that an exchange cannot be completed.
    static func failureWord(groupSize: Int) -> Int { ExchangeWiring.wordCount(rankCount: groupSize) }
    /// The word by which a rank of the group says that it goes on with other members.
    static func renewalWord(from rank: Int, groupSize: Int) -> Int { failureWord(groupSize: groupSize) + 1 + rank }
    static func signalCount(groupSize: Int) -> Int { renewalWord(from: groupSize, groupSize: groupSize) }
}
