// Memory that calls leave for the next ones.
#pragma once
#include <cstring>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "interface.h"

namespace wf {

// A call trains one epoch. Fresh memory costs a page fault every 4 KiB and has to be cleared: with wide inputs and few rows, where an
// epoch is a handful of steps, that took longer than the training. A block that has served the same purpose is as the next member of
// the same call would find it, with zeros wherever padding has to be, so it is handed out as it is.
class Depot {
  public:
    struct Block {
        std::vector<int64_t> purpose;
        unsigned char *memory;
        size_t size;
    };

    static Depot &shared() {
        static Depot *depot = new Depot; // never destroyed: threads may outlive static objects
        return *depot;
    }
    static unsigned char *fresh(size_t size) { return static_cast<unsigned char *>(::operator new[](size, std::align_val_t(64))); }

    // A block that served this purpose, or null.
    unsigned char *find(const std::vector<int64_t> &purpose, size_t size) {
        std::lock_guard<std::mutex> guard(lock_);
        for (size_t n = blocks_.size(); n-- > 0;)
            if (blocks_[n].size == size && blocks_[n].purpose == purpose) {
                unsigned char *memory = blocks_[n].memory;
                blocks_.erase(blocks_.begin() + std::ptrdiff_t(n));
                held_ -= size;
                return memory;
            }
        return nullptr;
    }
    // Keeps a block, and lets go of those unused for longest.
    void keep(Block block) {
        std::lock_guard<std::mutex> guard(lock_);
        held_ += block.size;
        blocks_.push_back(std::move(block));
        while (held_ > MOST_BYTES || blocks_.size() > MOST_BLOCKS) {
            held_ -= blocks_.front().size;
            ::operator delete[](blocks_.front().memory, std::align_val_t(64));
            blocks_.erase(blocks_.begin());
        }
    }

  private:
    static constexpr size_t MOST_BYTES = size_t(512) << 20, MOST_BLOCKS = 64;
    std::mutex lock_;
    std::vector<Block> blocks_;
    size_t held_ = 0;
};

} // namespace wf
