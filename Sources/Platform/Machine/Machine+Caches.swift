// SPDX-License-Identifier: MIT

#if canImport(Glibc)
import Glibc
#endif

extension Machine {
    /// Bytes of a core's second-level cache; nil where the system does not tell.
    public static let secondLevelCacheSize: Int? = {
        #if canImport(Glibc)
        let size = sysconf(Int32(_SC_LEVEL2_CACHE_SIZE))
        return size > 0 ? size : nil
        #else
        return nil
        #endif
    }()
}
