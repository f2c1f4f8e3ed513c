# One image for every placement: MODULES decides what a process hosts. Its base is named to the last digit, and npm ci takes
# what package-lock.json says, so the same sources give the same program.
FROM node:26.10.0-bookworm-slim AS dependencies
WORKDIR /seam
COPY package.json package-lock.json .npmrc ./
COPY patches patches
# No package's own scripts are run. Without optional ones there is no embedded PostgreSQL, which is 60 MB and not for production.
# Types, source maps and documentation go, licences and notices stay.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-update-notifier \
 && node_modules/.bin/patch-package --error-on-fail \
 && find node_modules -type f \( -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.map' \
      -o -name '*.md' ! -iname 'licen[cs]e*.md' ! -iname 'notice*.md' ! -iname 'copying*.md' \) -delete

FROM node:26.10.0-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8000 OPS_PORT=9000
WORKDIR /seam
COPY --from=dependencies /seam/node_modules node_modules
COPY package.json ./
COPY migrations migrations
COPY src src
RUN install -d -o node node_modules/.cache
USER node
# What Node has compiled once, later starts need not, also on a read-only file system.
RUN ["node", "src/warm-up.ts"]
EXPOSE 8000 9000
HEALTHCHECK --interval=5s --timeout=10s --start-period=60s --retries=3 CMD ["node", "src/healthcheck.ts"]
# No shell and no npm in between: SIGTERM reaches Seam, which finishes what it has begun and ends, within 20 s.
CMD ["node", "src/main.ts"]
