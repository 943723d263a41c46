export { fileTest as default } from './group.js'
